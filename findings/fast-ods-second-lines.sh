#!/bin/sh
# fast-ods returns the first line of a cell only, the comment instead of the cell's text, and shifts what stands beside merged cells.
#
# The package (0.3.2) reads the rows of OpenDocument spreadsheets, "for fast data extraction". A cell with two lines is two paragraphs in
# the file: of the allergies penicillin and latex it returns penicillin. A comment stands before the text: it returns who wrote the
# comment, when, and what, and not the text. Of merged cells all but the first have another name in the file, covered-table-cell, and it
# leaves them out: where a patient's name is merged over three visits, the day of the second and third stands in the name's column,
# and the dose in the day's. A date comes as it is displayed, here with two digits of the year. The option for one sheet, by name or
# by number, has no effect: the rows of all sheets are returned. The README promises not all of the format: no styling, formulas or metadata.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fast-ods==0.3.2 python-calamine==0.9.1 2>"$folder/log"

cd "$folder"
venv/bin/python - <<'END'
import sys, zipfile
from importlib.metadata import version
from fast_ods import ODSParser
from python_calamine import CalamineWorkbook

SPACES = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{path}:1.0"' for name, path in (
    ("office", "office"), ("table", "table"), ("text", "text"), ("number", "datastyle"), ("style", "style"), ("dc", "x")))
SPACES = SPACES.replace('"urn:oasis:names:tc:opendocument:xmlns:x:1.0"', '"http://purl.org/dc/elements/1.1/"')

def text(*lines, attributes="", comment=""):
    paragraphs = "".join(f"<text:p>{line}</text:p>" for line in lines)
    return f'<table:table-cell office:value-type="string"{attributes}>{comment}{paragraphs}</table:table-cell>'

def number(value):
    return f'<table:table-cell office:value-type="float" office:value="{value}"><text:p>{value}</text:p></table:table-cell>'

def day(value):
    shown = f"{value[8:]}/{value[5:7]}/{value[2:4]}"
    return f'<table:table-cell office:value-type="date" office:date-value="{value}"><text:p>{shown}</text:p></table:table-cell>'

COVERED = "<table:covered-table-cell/>"
COMMENT = ("<office:annotation><dc:creator>Dr Miller</dc:creator><dc:date>2026-01-05T09:00:00</dc:date>"
           "<text:p>none so far</text:p></office:annotation>")
MERGED = ' table:number-rows-spanned="3" table:number-columns-spanned="1"'
SHEETS = {
    "Allergies": [
        [text("Patient"), text("Allergies")],
        [text("Adams"), text("penicillin", "latex")],
        [text("Brown"), text("sulfonamides", comment=COMMENT)],
    ],
    "Doses": [
        [text("Patient"), text("Day"), text("Dose")],
        [text("Clark", attributes=MERGED), day("2026-01-05"), number(5)],
        [COVERED, day("2026-01-06"), number(10)],
        [COVERED, day("2026-01-07"), number(20)],
    ],
}
tables = ""
for name, rows in SHEETS.items():
    columns = f'<table:table-column table:number-columns-repeated="{len(rows[0])}"/>'
    rows = "".join(f"<table:table-row>{''.join(cells)}</table:table-row>" for cells in rows)
    tables += f'<table:table table:name="{name}">{columns}{rows}</table:table>'
content = (f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {SPACES} office:version="1.3"><office:body>'
           f"<office:spreadsheet>{tables}</office:spreadsheet></office:body></office:document-content>")
KIND = "application/vnd.oasis.opendocument.spreadsheet"
PART = '<manifest:file-entry manifest:full-path="{}" manifest:media-type="{}"/>'
manifest = ('<?xml version="1.0" encoding="UTF-8"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" '
            f'manifest:version="1.3">{PART.format("/", KIND)}{PART.format("content.xml", "text/xml")}</manifest:manifest>')
with zipfile.ZipFile("clinic.ods", "w", zipfile.ZIP_DEFLATED) as file:
    file.writestr("mimetype", KIND, zipfile.ZIP_STORED)
    file.writestr("content.xml", content)
    file.writestr("META-INF/manifest.xml", manifest)

workbook = CalamineWorkbook.from_path("clinic.ods")
for name in SHEETS:
    print(f"python-calamine {version('python-calamine')}, {name}:", *workbook.get_sheet_by_name(name).to_python(), sep="\n  ")
rows = {name: list(ODSParser().parse("clinic.ods", table=name)) for name in (*SHEETS, 0, 1)}
for name in SHEETS:
    print(f"fast-ods {version('fast-ods')}, {name}:", *rows[name], sep="\n  ")
sys.exit(not (
    rows["Allergies"] == rows["Doses"] == rows[0] == rows[1]
    and rows[0] == [
        ("Patient", "Allergies"), ("Adams", "penicillin"), ("Brown", "Dr Miller2026-01-05T09:00:00none so far"),
        ("Patient", "Day", "Dose"), ("Clark", "05/01/26", "5"), ("06/01/26", "10"), ("07/01/26", "20"),
    ]
))
END
