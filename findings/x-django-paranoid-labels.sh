#!/bin/sh
# x-django-paranoid deletes, with a label, all patients who have it, and with a doctor the visits for which PROTECT keeps the doctor.
#
# The package (0.3.0) marks rows of Django as deleted instead of deleting them, and what refers to them likewise. It takes the other
# end of a many-to-many field for something that refers to the row, as a visit refers to its patient: who deletes the label "walks
# with a stick" deletes each patient that has it, with their visits. Django removes the labels alone. A ForeignKey's on_delete is not
# looked at, only a setting of a class of its own: with PROTECT, Django refuses to delete a doctor who has visits; here the visits go
# too, without an error. If a deleted patient is restored while another has the number by now, OVERWRITE_ACTIVE, in the README "delete
# the new one, restore the old", does not mark the new one as deleted: it is erased with its visits, and cannot be restored.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check x-django-paranoid==0.3.0 Django==5.2.19 2>"$folder/log"
cd "$folder"
mkdir clinic
: >clinic/__init__.py
cat >clinic/models.py <<'END'
from django.db import models
from x_paranoid.constraints import ParanoidUniqueConstraint
from x_paranoid.models import XParanoidModel

class Doctor(XParanoidModel):
    name = models.TextField()

class Label(XParanoidModel):
    name = models.TextField()

class PatientLabel(XParanoidModel):
    patient = models.ForeignKey("Patient", models.CASCADE)
    label = models.ForeignKey(Label, models.CASCADE)

class Patient(XParanoidModel):
    number = models.TextField()
    name = models.TextField()
    labels = models.ManyToManyField(Label, through=PatientLabel)

    class Meta:
        constraints = [ParanoidUniqueConstraint(fields=["number"], name="one_patient_a_number")]

    class XParanoidMeta:
        on_restore_conflict = "OVERWRITE_ACTIVE"

class Visit(XParanoidModel):
    patient = models.ForeignKey(Patient, models.CASCADE)
    doctor = models.ForeignKey(Doctor, models.PROTECT)
    day = models.DateField()
END

venv/bin/python - <<'END'
import os, sys
from importlib.metadata import version
sys.path.insert(0, os.getcwd())
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}, USE_TZ=True,
    INSTALLED_APPS=["django.contrib.contenttypes", "x_paranoid", "clinic"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()

from django.core.management import call_command
from django.db import connection
from clinic.models import Doctor, Label, Patient, PatientLabel, Visit

with connection.schema_editor() as editor:
    for model in (Doctor, Label, Patient, PatientLabel, Visit):
        editor.create_model(model)

def seen(title):
    """Who is there for the application, and who is in the tables."""
    there = [sorted(model.objects.values_list("name", flat=True)) for model in (Doctor, Label, Patient)] + [Visit.objects.count()]
    stored = [sorted(Patient.objects_with_deleted.values_list("name", flat=True)), Visit.objects_with_deleted.count()]
    print(f"{title}:", *there, "- stored patients and visits:", *stored)
    return there, stored

print("x-django-paranoid", version("x-django-paranoid"), "with Django", django.__version__)
doctors = [Doctor.objects.create(name=name) for name in ("Dr Miller", "Dr Young")]
stick, deaf = (Label.objects.create(name=name) for name in ("walks with a stick", "hard of hearing"))
for number, name, label, doctor in [(1, "Adams", stick, 0), (2, "Brown", stick, 0), (3, "Clark", deaf, 1), (4, "Davis", None, 1)]:
    patient = Patient.objects.create(number=number, name=name)
    Visit.objects.create(patient=patient, doctor=doctors[doctor], day="2026-01-05")
    if label:
        PatientLabel.objects.create(patient=patient, label=label)
seen("at first")

stick.delete()
labels = seen("after the label 'walks with a stick' was deleted")
stick.restore()
seen("after it was restored")
doctors[1].delete()
doctor = seen("after Dr Young was deleted, whom PROTECT keeps")
doctors[1].restore()

Patient.objects.get(name="Davis").delete()
again = Patient.objects.create(number=4, name="Davis, entered again")
for day in ("2026-02-02", "2026-02-09"):
    Visit.objects.create(patient=again, doctor=doctors[1], day=day)
seen("after Davis was deleted, and entered again with two visits")
Patient.objects_with_deleted.get(name="Davis").restore()
restored = seen("after the first Davis was restored")
sys.exit(not (
    labels[0][1:] == [["hard of hearing"], ["Clark", "Davis"], 2]
    and doctor[0][0] == ["Dr Miller"] and doctor[0][2:] == [["Adams", "Brown", "Clark", "Davis"], 2]
    and restored == ([["Dr Miller", "Dr Young"], ["hard of hearing", "walks with a stick"], ["Adams", "Brown", "Clark", "Davis"], 4],
                     [["Adams", "Brown", "Clark", "Davis"], 4])
))
END
