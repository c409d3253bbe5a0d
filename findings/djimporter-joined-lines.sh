#!/bin/sh
# djimporter joins the lines of a quoted cell without a separator, so doses 5 and 10 become 510, and may take a namesake's record.
#
# djimporter reads CSV files into Django models. It cuts the whole file at every line end before the csv module sees it and keeps
# none of them, so the line ends inside quotation marks are gone: "5", line end, "10" becomes 510. This also holds for the vertical
# tab, which FileMaker writes for the line ends in its fields, and for the other characters str.splitlines() cuts at. A second
# fault: of several objects with one slug, CachedSlugRelatedField silently takes the last (SlugRelatedField raises), so a visit
# goes to another patient of the same name. The import is valid and without errors.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check djimporter==0.12 django==4.0.10 pylibmagic==0.5.0 \
    'setuptools<81' 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END' 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
import contextlib, io, sys
from importlib.metadata import version
import pylibmagic
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=False,
)
django.setup()
from django.db import connection, models
from djimporter import importers
from djimporter.fields import CachedSlugRelatedField

class Patient(models.Model):
    name = models.CharField(max_length=99)
    born = models.CharField(max_length=99)

    class Meta:
        app_label = "clinic"

class Visit(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    doses = models.CharField(max_length=99)

    class Meta:
        app_label = "clinic"

with connection.schema_editor() as editor:
    editor.create_model(Patient)
    editor.create_model(Visit)
for name, born in ("Ada Moss", "1931"), ("Eve Lund", "1950"), ("Ada Moss", "1988"):
    Patient.objects.create(name=name, born=born)

class Visits(importers.CsvModel):
    patient = CachedSlugRelatedField(queryset=Patient.objects.order_by("pk"), slug_field="name")

    class Meta:
        fields = ["patient", "doses"]
        dbModel = Visit
        delimiter = ","
        encoding = "utf-8"

with open("visits.csv", "w", newline="") as file:
    file.write('patient,doses\r\nEve Lund,"5\n10"\r\nEve Lund,"0.5\v25"\r\nAda Moss,7\r\n')
print("djimporter", version("djimporter"), "on Django", django.__version__)
reader = Visits("visits.csv")
with contextlib.redirect_stdout(io.StringIO()):  # it prints its parameter
    valid = reader.is_valid()
reader.save()
kept = [(visit.patient.name, visit.patient.born, visit.doses) for visit in Visit.objects.order_by("pk")]
print("valid:", valid, "- errors:", reader.errors)
for one in kept:
    print(*one, sep=", ")
expected = [("Eve Lund", "1950", "510"), ("Eve Lund", "1950", "0.525"), ("Ada Moss", "1988", "7")]
sys.exit(not (valid and not reader.errors and kept == expected))
END
