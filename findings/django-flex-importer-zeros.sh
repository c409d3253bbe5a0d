#!/bin/sh
# django-flex-importer imports no pain for a pain of 0, and the value of a column without a name as that of the column behind it.
#
# The package (1.0.0) imports workbooks into Django's models. A cell with 0 or FALSE counts as an empty one: pain 0 becomes "not
# asked", and of a patient who does not smoke it is no longer known; if the field is required, the row is refused. The same table
# as CSV is right, since its 0 is text. A column without a name in the first row is left out of the list of names, but not out of
# the values: each column behind it has the value of the one before, and the last value is lost. A dose of 20 becomes 1, which is
# the TRUE of the column beside it. Where the kinds do not fit, the row is refused; where they do, nothing shows it. A dose of 2.5
# in a field of whole numbers becomes 2. The import ends with the status "success", all rows imported and no errors.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-flex-importer==1.0.0 django==5.2.19 openpyxl==3.1.5 \
    2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import csv, sys
from importlib.metadata import version
import django
from django.conf import settings

folder = sys.argv[1]
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "flex_importer"], MEDIA_ROOT=folder, USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/database"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from django.core.files import File
from django.core.management import call_command
from django.db import models
from flex_importer import FlexImporter
from flex_importer.models import ImportLog
from flex_importer.processor import ImportProcessor
from openpyxl import Workbook

call_command("migrate", verbosity=0)
imported = []

class VisitImporter(FlexImporter):
    patient = models.CharField(verbose_name="Patient", max_length=9)
    pain = models.IntegerField(verbose_name="Pain", blank=True, null=True)
    smoker = models.BooleanField(verbose_name="Smoker", blank=True, null=True)
    dose = models.IntegerField(verbose_name="Dose", blank=True, null=True)

    def import_action(self, row):
        imported.append(list(row.values()))
        return True

def load(what, format, rows):
    """Import the rows, and return what the importer was given, the status and the errors."""
    path = f"{folder}/visits.{format}"
    if format == "xlsx":
        book = Workbook()
        for row in rows:
            book.active.append(row)
        book.save(path)
    else:
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows(rows)
    imported.clear()
    log = ImportLog(importer_class=f"{VisitImporter.__module__}.VisitImporter", importer_name="Visits", file_format=format)
    with open(path, "rb") as file:
        log.uploaded_file.save(f"visits.{format}", File(file), save=False)
    log.save()
    ImportProcessor(log).process()
    print(f"{what}: {log.status}, {log.success_rows} rows, errors {log.error_details}", *rows[1:], "->", *imported)
    return list(imported), log.status, log.error_details

print("django-flex-importer", version("django-flex-importer"), "- Django", version("django"))
names = ["Patient", "Pain", "Smoker", "Dose"]
rows = [["P1", 0, False, 20], ["P2", 3, True, 2.5]]
workbook = load("workbook", "xlsx", [names, *rows])
text = load("CSV", "csv", [names, rows[0]])
unnamed = load("workbook, the column of the room without a name", "xlsx", [["Patient", None, *names[1:]], ["P3", 7, 1, True, 20]])
sys.exit(not (
    workbook == ([["P1", None, None, 20], ["P2", 3, True, 2]], "success", [])
    and text == ([["P1", 0, False, 20]], "success", [])
    and unnamed == ([["P3", 7, True, 1]], "success", [])
))
END
