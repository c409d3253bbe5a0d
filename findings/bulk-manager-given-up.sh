#!/bin/sh
# bulk-manager-django deletes a patient whose deletion was given up, as soon as another part of the program stores a visit.
#
# The package (0.1.2) collects what is to be created, changed and deleted in Django, and does it at once with execute(). All objects
# of BulkManager have one collection. What was prepared with one of them and not carried out, since a check failed, is carried out
# by the next execute() of any other in the process, which knows nothing of it. Models are told apart by their name alone: if visits
# of two apps are to be created, those of clinic.Visit are stored in the table of study.Visit, which came last. There is no error.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check bulk-manager-django==0.1.2 django==5.2.19 2>"$folder/log"
mkdir "$folder/clinic" "$folder/study"
touch "$folder/clinic/__init__.py" "$folder/study/__init__.py"
cat >"$folder/clinic/models.py" <<'END'
from django.db import models

class Patient(models.Model):
    name = models.TextField()

class Visit(models.Model):
    patient = models.IntegerField()
    mg = models.FloatField()
END
sed -n '1,2p;6,$p' "$folder/clinic/models.py" >"$folder/study/models.py"

PYTHONPATH=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import sys
from importlib.metadata import version
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["clinic", "study"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{sys.argv[1]}/database"}},
)
django.setup()
from django.core.management import call_command

call_command("migrate", verbosity=0, run_syncdb=True)
import study.models
from bulk_manager_django.BulkManager import BulkManager
from clinic.models import Patient, Visit

print("bulk-manager-django", version("bulk-manager-django"), "- Django", version("django"))
for number, name in enumerate(("Adams", "Brown", "Clark"), start=1):
    Patient.objects.create(id=number, name=name)

def give_up():
    """Prepare a deletion and a change, and do not carry them out."""
    manager = BulkManager()
    manager.prepareDelete(Patient.objects.get(name="Adams"))
    manager.set(Patient.objects.get(name="Brown"), "name", "TEST")

give_up()
before = list(Patient.objects.order_by("id").values_list("name", flat=True))
other = BulkManager()
other.prepareCreate(Visit(patient=3, mg=5))
other.execute()
after = list(Patient.objects.order_by("id").values_list("name", flat=True))
print("patients before another one stores a visit:", *before, "- and after that:", *after)

both = BulkManager()
both.prepareCreate([Visit(patient=3, mg=10), study.models.Visit(patient=901, mg=1)])
both.execute()
clinic = list(Visit.objects.order_by("mg").values_list("patient", "mg"))
studied = list(study.models.Visit.objects.order_by("mg").values_list("patient", "mg"))
print("visits of the clinic, which were 5 and 10 mg:", *clinic, "- of the study:", *studied)
right = before == ["Adams", "Brown", "Clark"] and after == ["TEST", "Clark"]
sys.exit(not (right and clinic == [(3, 5.0)] and studied == [(901, 1.0), (3, 10.0)]))
END
