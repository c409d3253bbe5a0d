#!/bin/sh
# django-batch-sheet adds a visit to the patient who once had that name, and visits of before to what it says that it loaded.
#
# The app (0.91.1) makes an Excel sheet from a Django model, and loads the filled in sheet. A cell for a foreign key has the text that
# str() gives, chosen from a list. When it first meets a field of that name, it reads the table into a dictionary which belongs to all
# sheets of the process and is never read again. Adams marries and is Miller now, another Adams comes: the next upload's visit of "Adams"
# goes to Miller. A patient who came since is not found: the visit has no patient, although the cell has one, and is_valid() is true.
# process() returns what was made, together with what was made by the uploads before. Dates of a workbook that counts from 1904, as Excel
# for Macintosh wrote them, are four years and a day too early. A record number of digits gets ".0". No error, no warning.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-batch-sheet==0.91.1 Django==5.2.3 xlrd==2.0.1 XlsxWriter==3.2.5 xlwt==1.3.0 \
    2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import importlib.metadata, sys
from datetime import date
import django, xlwt
from django.conf import settings

settings.configure(
    BASE_DIR=".", INSTALLED_APPS=["batch_sheet"], USE_TZ=False, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "clinic.sqlite3"}})
django.setup()
from django.db import connection, models
from batch_sheet.Sheet import Sheet


class Patient(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "clinic"

    def __str__(self):
        return self.name


class Visit(models.Model):
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, null=True, blank=True)
    seen = models.DateField()
    number = models.CharField(max_length=20)

    class Meta:
        app_label = "clinic"


class VisitSheet(Sheet):
    def save(self, obj, row_objs):
        obj.save()
        return obj

    class Meta:
        exclude = ("id",)
        Model = Visit


def upload(name, number, counts_from_1904=False):
    """Loads a sheet with one visit of 2 March 2026; returns how many visits are reported, and the visit as it is in the database."""
    book = xlwt.Workbook()
    book.dates_1904 = counts_from_1904
    page = book.add_sheet("visits")
    row = {"patient": name, "seen": date(2026, 3, 2), "number": number}
    for column, (title, value) in enumerate(row.items()):
        page.write(0, column, title)
        page.write(1, column, value, xlwt.easyxf(num_format_str="YYYY-MM-DD" if title == "seen" else "General"))
    book.save("visits.xls")
    sheet = VisitSheet()
    sheet.open(file_name="visits.xls")
    assert sheet.is_valid()
    reported = len(sheet.process())
    visit = Visit.objects.latest("id")
    patient = visit.patient and f"patient {visit.patient.pk}, {visit.patient}"
    print(f"a sheet with one visit of {name!r} on {row['seen']}, number {number!r}: {reported} reported; "
          f"the visit is of {patient} on {visit.seen}, number {visit.number!r}")
    return reported, visit.patient_id, visit.seen, visit.number


print("django-batch-sheet", importlib.metadata.version("django-batch-sheet"))
with connection.schema_editor() as editor:
    editor.create_model(Patient)
    editor.create_model(Visit)
first = Patient.objects.create(name="Adams")
monday = upload("Adams", "A-1")
Patient.objects.filter(pk=first.pk).update(name="Miller")
second = Patient.objects.create(name="Adams")
print(f"patient {first.pk} has another name now, Miller; patient {second.pk} is Adams")
tuesday = upload("Adams", "A-2")
third = Patient.objects.create(name="Baker")
print(f"patient {third.pk} is Baker")
wednesday = upload("Baker", 4711, counts_from_1904=True)
DAY = date(2026, 3, 2)
sys.exit(not (
    monday == (1, first.pk, DAY, "A-1") and tuesday == (2, first.pk, DAY, "A-2")
    and wednesday == (3, None, date(2022, 3, 1), "4711.0")
))
END
