#!/bin/sh
# djimporter writes a default over the file's own values, and joins the lines of a cell: 2 x 1 and 0 refills are 2 x 10 refills.
#
# The library (0.12) loads CSV files into Django's models. "default_values" is for a column that a file may lack: the check of the header
# asks for the column only if it has no default. If the file has the column, the default goes into all rows: 1 g of the file is
# 1 mg in the database. It reads the file with splitlines() and gives the lines, without their ends, to the csv module: what stood on two
# lines of a quoted cell stands on one, with nothing between. splitlines() also ends a line at a vertical tab, which FileMaker writes
# into CSV files for each line end within a field. is_valid() is true, save() reports nothing.
#
# Needs python3.10 or 3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install -q --disable-pip-version-check "$@" 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }; }
# pylibmagic has the C library that python-magic needs.
pip Django==4.0.10 python-magic==0.4.27 pylibmagic==0.5.0
pip --no-deps djimporter==0.12

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import importlib.metadata, sys
from pathlib import Path
import pylibmagic
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=[], USE_TZ=False, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "clinic.sqlite3"}})
django.setup()
from django.db import connection, models
from djimporter.importers import CsvModel


class Dose(models.Model):
    patient = models.CharField(max_length=20)
    amount = models.IntegerField()
    unit = models.CharField(max_length=5)
    note = models.TextField()

    class Meta:
        app_label = "clinic"


class DoseFile(CsvModel):
    class Meta:
        dbModel = Dose
        fields = ["patient", "amount", "unit", "note"]
        delimiter = ","
        encoding = "utf-8"


def load(title, text, **options):
    """Loads a file into the empty table; returns the rows of the table."""
    Dose.objects.all().delete()
    Path("doses.csv").write_bytes(text.encode())
    file = DoseFile("doses.csv", **options)
    assert file.is_valid() and not file.save() and not file.errors
    rows = list(Dose.objects.order_by("id").values_list("patient", "amount", "unit", "note"))
    print(f"{title}: {text!r}\n   gives {rows}")
    return rows


print("djimporter", importlib.metadata.version("djimporter"))
with connection.schema_editor() as editor:
    editor.create_model(Dose)
HEADER = "patient,amount,unit,note\r\n"
default = {"default_values": {"unit": "mg"}}
own = load("units in the file, no default", HEADER + "P-1,1,g,daily\r\nP-2,5,mg,daily\r\n")
lacking = load("no units, the default is mg", "patient,amount,note\r\nP-2,5,daily\r\n", **default)
written_over = load("units in the file, the default is mg", HEADER + "P-1,1,g,daily\r\nP-2,5,mg,daily\r\n", **default)
lines = load("a cell of two lines", HEADER + 'P-1,1,g,"2 x 1\r\n0 refills"\r\n')
tab = load("a cell of two lines, as FileMaker writes it", HEADER + 'P-1,1,g,"2 x 1\v0 refills"\r\n')
JOINED = [("P-1", 1, "g", "2 x 10 refills")]
sys.exit(not (
    own == [("P-1", 1, "g", "daily"), ("P-2", 5, "mg", "daily")] and lacking == [("P-2", 5, "mg", "daily")]
    and written_over == [("P-1", 1, "mg", "daily"), ("P-2", 5, "mg", "daily")] and lines == tab == JOINED
))
END
