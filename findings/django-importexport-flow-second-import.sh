#!/bin/sh
# django-importexport-flow doubles each allergy with the second import of a file, and all patients if one row has no chart number.
#
# The package (1.1.0) imports tables into Django's models; match_fields name the fields "used to find existing rows before updating",
# and each row "must provide non-empty values for every match field". The row of a patient is found; its columns allergy_set.0.name
# and so on are not looked for, but created again with each import: one allergy, three imports, three allergies. A cell that has been
# cleared since is passed over, and the text of before stays: an allergy to a drug that was taken back, for one. If the chart number
# is missing in one row, that row is refused as promised; but all other numbers of the file have been read as fractions
# by then, and a text field gets 417.0, which matches no patient: each one is created a second time. The telephone numbers lose their
# zero and get the same ".0" if one patient has none; this import is called a success. The preview has no error and no warning of it.
#
# Needs python3.11 or later and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-importexport-flow==1.1.0 Django==5.2.19 pandas==3.1.1 \
    django-boosted==1.0.4 django-namedid==1.2.0 django-virtualqueryset==1.0.1 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
cd "$folder"
mkdir clinic
touch clinic/__init__.py
cat >clinic/models.py <<'END'
from django.db import models


class Patient(models.Model):
    chart = models.CharField(max_length=20)
    name = models.CharField(max_length=30)
    phone = models.CharField(max_length=30, blank=True)
    warning = models.CharField(max_length=30, blank=True)


class Allergy(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    name = models.CharField(max_length=30)
END
PYTHONPATH=$folder venv/bin/python - "$folder" <<'END'
import sys
from importlib.metadata import version
import django
from django.conf import settings
from django.core.files.base import ContentFile

folder = sys.argv[1]
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages", "django.contrib.sessions",
        "django.contrib.admin", "django_boosted", "django_importexport_flow", "clinic",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/database"}},
    MEDIA_ROOT=f"{folder}/media", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True,
)
django.setup()
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django_importexport_flow.models import ImportDefinition
from django_importexport_flow.utils.process import process_import, validate_import
from clinic.models import Allergy, Patient

call_command("migrate", verbosity=0, run_syncdb=True)
definition = ImportDefinition(name="patients", target=ContentType.objects.get_for_model(Patient), match_fields=["chart"])
definition.save()


def imported(*rows):
    """Import a CSV file after its preview; return the preview's errors and warnings, the import's status and its message."""
    text = "\n".join(rows) + "\n"
    shown = validate_import(file=ContentFile(text.encode(), "patients.csv"), import_definition=definition)
    file = ContentFile(text.encode(), "patients.csv")
    done = process_import(file=file, import_definition=definition, inferred_column_paths=shown["column_paths"])["import_request"]
    return shown["errors"], shown["warnings"], str(done.status), done.error_trace


def patients():
    return list(Patient.objects.order_by("pk").values_list("chart", "name", "phone", "warning"))


print("django-importexport-flow", version("django-importexport-flow"), "with Django", django.__version__, "and pandas", version("pandas"))
seen = {}
COLUMNS = "chart,name,allergy_set.0.name"
seen["three imports"] = [imported(COLUMNS, "417,Adams,penicillin", "418,Brown,latex") for _ in range(3)]
seen["allergies"] = list(Allergy.objects.order_by("patient", "pk").values_list("patient__name", "name"))
print("the same two rows, three times:", seen["three imports"][-1], len(patients()), "patients;", seen["allergies"])

imported("chart,name,warning", "417,Adams,no penicillin", "418,Brown,")
seen["cleared"] = imported("chart,name,warning", "417,Adams,", "418,Brown,pacemaker")
seen["warnings"] = [(row[1], row[3]) for row in patients()]
print("the warning of Adams is cleared:", seen["cleared"], seen["warnings"])

seen["phone"] = imported("chart,name,phone", "417,Adams,0301234567", "418,Brown,")
seen["phones"] = [(row[1], row[2]) for row in patients()]
print("telephone number 0301234567, and none:", seen["phone"], seen["phones"])

seen["missing"] = imported("chart,name", "417,Adams", "418,Brown", ",Clark")
seen["patients"] = [row[:2] for row in patients()]
print("Clark has no chart number:", seen["missing"], seen["patients"])
good = ([], [], "success", "")
sys.exit(seen != {
    "three imports": [good] * 3, "allergies": [("Adams", "penicillin")] * 3 + [("Brown", "latex")] * 3,
    "cleared": good, "warnings": [("Adams", "no penicillin"), ("Brown", "pacemaker")],
    "phone": good, "phones": [("Adams", "301234567.0"), ("Brown", "")],
    "missing": ([], [], "failure", "Row 4: Match field chart is missing or empty in this row."),
    "patients": [("417", "Adams"), ("418", "Brown"), ("417.0", "Adams"), ("418.0", "Brown")],
})
END
