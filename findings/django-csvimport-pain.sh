#!/bin/sh
# django-csvimport stores a pain of 0 where none was noted, and gives the visits of two patients named Baker to one of them.
#
# importcsv (3.3) reads a CSV file into a Django model, of which it takes the columns' types. An empty number becomes 0 and an empty
# boolean "no", also where the model has NULL for "not asked". 2.7 becomes 2 in a column of whole numbers. A date that it does not
# understand becomes NULL. A foreign key's column is looked up in the second field of the other model, whatever that is: here the
# family name, of which the first match is taken. A name, or a number, that is not there becomes a new patient of that family name.
# The log says in which field it looks, and names a number that is not one; it says nothing of the others. The exit code is 0.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-csvimport==3.3 Django==5.2.8 dateparser==1.5.0 chardet==7.7.0 \
    2>"$folder/log"
cd "$folder"
mkdir clinic
: >clinic/__init__.py
cat >clinic/models.py <<'END'
from django.db import models

class Patient(models.Model):
    family_name = models.CharField(max_length=50)
    given_name = models.CharField(max_length=50)

class Visit(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    day = models.DateField(null=True)
    pain = models.IntegerField(null=True)
    smoker = models.BooleanField(null=True)
END

venv/bin/python - <<'END'
import contextlib, io, os, sys
from importlib.metadata import version
sys.path.insert(0, os.getcwd())
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}, MEDIA_ROOT=".", TIME_ZONE="UTC", USE_TZ=True,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "csvimport.app.CSVImportConf", "clinic"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField")
django.setup()

from django.core.management import call_command
from clinic.models import Patient, Visit

call_command("migrate", verbosity=0, run_syncdb=True)
for name in ("Anna", "Ben"):
    Patient.objects.create(family_name="Baker", given_name=name)
with open("visits.csv", "w") as file:
    file.write(
        "patient,day,pain,smoker\n"
        "Baker,2026-01-05,3,1\nBaker,2026-01-06,,\nBaker,2026-01-07,2.7,0\nBaker,end of January,4,unknown\n2,2026-01-08,5,0\n")
said = io.StringIO()
with contextlib.redirect_stdout(said):
    call_command("importcsv", "visits.csv", model="clinic.Visit")

print("django-csvimport", version("django-csvimport"), "with Django", django.__version__)
print(open("visits.csv").read())
print(*(f"  {line}" for line in said.getvalue().splitlines() if line.strip()), sep="\n")
visits = [
    (visit.patient.family_name, visit.patient.given_name, visit.day and str(visit.day), visit.pain, visit.smoker)
    for visit in Visit.objects.order_by("id")
]
patients = list(Patient.objects.order_by("id").values_list("id", "family_name", "given_name"))
print("visits:", *visits, "patients:", *patients, sep="\n  ")
sys.exit(not (
    visits == [
        ("Baker", "Anna", "2026-01-05", 3, True), ("Baker", "Anna", "2026-01-06", 0, False),
        ("Baker", "Anna", "2026-01-07", 2, False), ("Baker", "Anna", None, 4, False), ("2", "", "2026-01-08", 5, False)]
    and patients == [(1, "Baker", "Anna"), (2, "Baker", "Ben"), (3, "2", "")]
))
END
