#!/bin/sh
# django-model-import makes a new patient for each visit, and one without a name for each import.
#
# The package (0.8.0) imports rows into Django's models. Its FlatRelatedField takes a visit's patient from columns of the row; its
# source says that it creates the patient if there is none yet. It never looks whether there is one: three visits of Adams make three
# patients Adams, and the next import makes more. Each import also stores a patient of whom all fields are empty. If a row updates a
# visit, its columns are written over the patient: one visit that was entered for Adams and is Brown's turns Adams into Brown, with all
# other visits of Adams. The patient is stored before the row is checked, so that a row that is refused leaves a patient without a
# visit. The result counts the visits, and says nothing of patients.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-model-import==0.8.0 Django==5.2.8 2>"$folder/log"
cd "$folder"

venv/bin/python - <<'END'
import sys
from importlib.metadata import version
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}, DEFAULT_AUTO_FIELD="django.db.models.AutoField")
django.setup()

from django.db import connection, models
from djangomodelimport import ImporterModelForm, ModelImporter
from djangomodelimport.fields import FlatRelatedField

class Patient(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "clinic"

class Visit(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    day = models.DateField()

    class Meta:
        app_label = "clinic"

class VisitForm(ImporterModelForm):
    patient = FlatRelatedField(queryset=Patient.objects.all(), fields={"patient_name": {"to_field": "name", "required": True}})

    class Meta:
        model = Visit
        fields = ["patient", "day"]

with connection.schema_editor() as editor:
    editor.create_model(Patient)
    editor.create_model(Visit)

def run(what, *rows):
    """Import rows, and return the names of the patients and the visits' patients."""
    headers = ["id", "patient_name", "day"]
    result = ModelImporter(VisitForm).process(headers, [dict(zip(headers, row)) for row in rows], commit=True)
    names = list(Patient.objects.order_by("id").values_list("name", flat=True))
    visits = list(Visit.objects.order_by("id").values_list("patient__name", flat=True))
    print(f"{what}: created {result.created}, updated {result.updated}, failed {result.failed}; patients {names}, visits of {visits}")
    return names, visits

print("django-model-import", version("django-model-import"), "with Django", django.__version__)
new = run("three visits of Adams", *(["", "Adams", f"2026-01-0{day}"] for day in (5, 6, 7)))
adams = Patient.objects.filter(name="Adams").first()
Visit.objects.update(patient=adams)
Patient.objects.exclude(id=adams.id).delete()
Patient.objects.create(name="Brown")
print("now all three are visits of one Adams, and there is a patient Brown")
moved = run("the second visit is Brown's", [Visit.objects.order_by("id")[1].id, "Brown", "2026-01-06"])
refused = run("a visit of Cole on an impossible day", ["", "Cole", "2026-02-30"])
sys.exit(not (
    new == (["", *["Adams"] * 3], ["Adams"] * 3)
    and moved == (["Brown", "Brown", ""], ["Brown"] * 3)
    and refused == (["Brown", "Brown", "", "", "Cole"], ["Brown"] * 3)
))
END
