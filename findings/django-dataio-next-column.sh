#!/bin/sh
# django-dataio writes a value into the column before it if that one is empty or 0: 7 units of the evening are given in the morning.
#
# The app (0.0.1) exports the rows of a Django model to Excel, and imports them from there. The fields and their order are in a table.
# An empty value is left out of the row of the workbook, not left empty, and so is 0 and False: all that follow move to the left by one
# column, under the title of the field before. A record without a telephone number has its allergy as telephone number, one with 0 units
# in the morning and 7 in the evening has 7 in the morning. Its own import reads them back like that. No error, no warning.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install -q --disable-pip-version-check "$@" 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }; }
pip Django==5.2.3 openpyxl==3.1.5
pip --no-deps django-dataio==0.0.1

cd "$folder"
mkdir clinic
touch clinic/__init__.py
cat >clinic/models.py <<'END'
from django.db import models
from django_dataio.mixins import DjangoDataIOModelMixin


class Patient(DjangoDataIOModelMixin, models.Model):
    name = models.CharField(max_length=20)
    telephone = models.CharField(max_length=20, blank=True, null=True)
    allergy = models.CharField(max_length=20, blank=True, null=True)
    morning = models.IntegerField(null=True)
    evening = models.IntegerField(null=True)
END
"$folder/venv/bin/python" - "$folder" <<'END'
import importlib.metadata, sys
import django
import openpyxl
from django.conf import settings

settings.configure(
    BASE_DIR=sys.argv[1], MEDIA_ROOT=sys.argv[1], USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django_dataio", "clinic"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "clinic.sqlite3"}})
django.setup()
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from clinic.models import Patient
from django_dataio.models import ModelField

call_command("migrate", run_syncdb=True, verbosity=0)
print("django-dataio", importlib.metadata.version("django-dataio"))
FIELDS = ["name", "telephone", "allergy", "morning", "evening"]
kind = ContentType.objects.get_for_model(Patient)
for place, name in enumerate(FIELDS):
    ModelField.objects.create(model=kind, name=name, xp=place)


def read():
    return list(Patient.objects.order_by("id").values_list(*FIELDS))


Patient.objects.create(name="Adams", telephone="555-0100", allergy="none", morning=5, evening=7)
Patient.objects.create(name="Baker", telephone="", allergy="penicillin", morning=5, evening=7)
Patient.objects.create(name="Clark", telephone="555-0101", allergy="none", morning=0, evening=7)
before = read()
path = Patient.data_export("excel")
rows = list(openpyxl.load_workbook(path).active.iter_rows(values_only=True))
print("the workbook:", *rows, sep="\n   ")
Patient.objects.all().delete()
imported = Patient.data_import(path, "excel")
after = read()
print("in the database before:", *before, sep="\n   ")
print(f"in the database after the import of the workbook, {imported} rows:", *after, sep="\n   ")
sys.exit(not (
    rows == [tuple(FIELDS), ("Adams", "555-0100", "none", "5", "7"), ("Baker", "penicillin", "5", "7", None),
             ("Clark", "555-0101", "none", "7", None)]
    and after == [("Adams", "555-0100", "none", 5, 7), ("Baker", "penicillin", "5", 7, None), ("Clark", "555-0101", "none", 7, None)]
))
END
