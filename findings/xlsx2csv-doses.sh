#!/bin/sh
# xlsx2csv replaces a dose by letters of its unit: 2.5 with the format `0.0" mg"` becomes `0.0" 01g"`, and so does 7.5.
#
# The program takes a number format for a date if it finds a letter of dates in it (d, h, m, s, y), also inside quotation
# marks, and then writes the format with parts of a date in place of these letters: the number is gone. "mmHg", "ml", "days"
# and "mcg" go the same way; "kg" does not. Times lose their seconds, and durations their whole days: 36:00:30 with [h]:mm:ss
# becomes 12:00. Of a sheet whose rows have no numbers (ECMA-376 calls them optional) no row is written. No error in any case.
# python-calamine and openpyxl give the numbers, and the rows.
#
# Needs python3 and its venv. Exit code 0: as described; 1: they behave otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check xlsx2csv==0.8.6 python-calamine==0.9.1 openpyxl==3.1.5 \
    XlsxWriter==3.3.1 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import csv, re, subprocess, sys, zipfile
from datetime import timedelta
from importlib.metadata import version
from io import StringIO
import openpyxl, python_calamine, xlsxwriter

folder = sys.argv[1]
day = timedelta(days=1)
cells = [
    (2.5, '0.0" mg"', '0.0" 01g"'),
    (7.5, '0.0" mg"', '0.0" 01g"'),
    (120, '0" mmHg"', '0" 0412g"'),
    (14, '0" days"', '0" 13ays"'),
    (80, '0" kg"', "80"),
    (timedelta(hours=36, seconds=30), "[h]:mm:ss", "12:00"),
]
with xlsxwriter.Workbook(f"{folder}/doses.xlsx") as book:
    sheet = book.add_worksheet()
    for row, (value, kind, _) in enumerate(cells):
        number = value / day if isinstance(value, timedelta) else value
        sheet.write_number(row, 0, number, book.add_format({"num_format": kind}))
with zipfile.ZipFile(f"{folder}/doses.xlsx") as numbered, zipfile.ZipFile(f"{folder}/rows.xlsx", "w") as without:
    for name in numbered.namelist():
        content = numbered.read(name)
        without.writestr(name, re.sub(rb'<row r="\d+"', b"<row", content) if "worksheets/" in name else content)

def by_xlsx2csv(name):
    done = subprocess.run([f"{folder}/venv/bin/xlsx2csv", f"{folder}/{name}"], capture_output=True, check=True, text=True)
    return [row[0] for row in csv.reader(StringIO(done.stdout)) if row]

def by_calamine(name):
    return [row[0] for row in python_calamine.CalamineWorkbook.from_path(f"{folder}/{name}").get_sheet_by_index(0).to_python()]

def by_openpyxl(name):
    return [row[0] for row in openpyxl.load_workbook(f"{folder}/{name}").active.iter_rows(values_only=True)]

print("xlsx2csv", version("xlsx2csv"))
found = by_xlsx2csv("doses.xlsx")
for (value, kind, _), text, calamine in zip(cells, found, by_calamine("doses.xlsx"), strict=True):
    print(f"{value} as {kind}: {text}  (calamine: {calamine})")
print("rows without numbers:", len(by_xlsx2csv("rows.xlsx")), "of", len(cells), f"(calamine: {len(by_calamine('rows.xlsx'))})")
values = [value for value, _, _ in cells]
right = found == [text for _, _, text in cells] and by_xlsx2csv("rows.xlsx") == []
for name in ("doses.xlsx", "rows.xlsx"):
    right &= by_calamine(name) == by_openpyxl(name) == values
sys.exit(not right)
END
