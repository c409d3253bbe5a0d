#!/bin/sh
# django-admin-bulk-io imports no patient's allergies if one patient has none, and makes one visit of two that are alike.
#
# The package (1.3) adds an import of CSV files to Django's admin. A column of a field that may be empty is left out as a whole if
# one of its cells is empty: of a table that has the allergies of all patients but one, none are stored. A row whose cell is empty
# for a field that may not be empty is left out. Rows that are equal count as one: two doses of 5 mg on one day become one, and the
# key, which would tell them apart, is not imported. The telephone number 0611111111 loses its zero. The answer counts the records
# that were made, and says nothing of what was left out: "4 New records created.", as after an import of all. The check before the
# import finds "0 errors" in the same file.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-admin-bulk-io==1.3 django==5.2.19 \
    djangorestframework==3.18.3 pandas==3.1.1 2>"$folder/log"
mkdir "$folder/clinic"
touch "$folder/clinic/__init__.py"
cat >"$folder/clinic/models.py" <<'END'
from django.db import models

class Patient(models.Model):
    name = models.TextField()
    born = models.DateField()
    allergies = models.TextField(blank=True)
    phone = models.TextField()

class Dose(models.Model):
    patient = models.TextField()
    day = models.DateField()
    mg = models.FloatField()
END

cd "$folder"
PYTHONPATH=$folder venv/bin/python - "$folder" <<'END'
import json, sys
from importlib.metadata import version
import django
from django.conf import settings

folder = sys.argv[1]
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "django_admin_bulk_io", "clinic"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/database"}},
    MEDIA_ROOT=folder, BASE_DIR=folder, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True,
    MIGRATION_MODULES={"django_admin_bulk_io": None},  # The package comes without migrations.
)
django.setup()
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import RequestFactory

call_command("migrate", verbosity=0, run_syncdb=True)
from clinic.models import Dose, Patient
from django_admin_bulk_io.views import bulk_import_view, bulk_validate_view

def send(view, model, text):
    """Upload the file to the check or the import, and return the answer's message."""
    file = SimpleUploadedFile("export.csv", text.encode(), content_type="text/csv")
    answer = view(RequestFactory().post(f"/admin/clinic/{model}/import/", {"file": file}))
    message = json.loads(answer.content)
    print(model, answer.status_code, message)
    return answer.status_code, str(message)

print("django-admin-bulk-io", version("django-admin-bulk-io"))
patients = """id,name,born,allergies,phone
1,Adams,1950-01-05,penicillin,0611111111
2,Brown,1960-02-06,latex,0622222222
3,Clark,1970-03-07,,0633333333
4,Davis,1980-04-08,sulfonamides,0644444444
"""
checked = send(bulk_validate_view, "patient", patients)
made = send(bulk_import_view, "patient", patients)
stored = list(Patient.objects.order_by("name").values_list("name", "allergies", "phone"))
print(*stored, sep="\n")
doses = "patient,day,mg\nAdams,2026-01-05,5\nAdams,2026-01-05,5\nAdams,2026-01-06,\nBrown,2026-01-05,10\n"
given = send(bulk_import_view, "dose", doses)
kept = list(Dose.objects.order_by("patient", "day").values_list("patient", "mg"))
print(*kept)
names = ["Adams", "Brown", "Clark", "Davis"]
sys.exit(not (
    checked[0] == made[0] == given[0] == 200
    and "0 errors" in checked[1] and "4 New records created." in made[1] and "2 New records created." in given[1]
    and [row[:2] for row in stored] == [(name, "") for name in names]
    and stored[0][2] == "611111111"
    and kept == [("Adams", 5.0), ("Brown", 10.0)]
))
END
