#!/bin/sh
# django-undo-revision takes back what somebody else has changed since, in another field, another scope and another record.
#
# The app (3.1.0) adds an undo to Django's models. Changes are made in a revision of a scope, such as a user or a session: "each scope has
# its own independent undo stack". It keeps the whole row as it was before a change, and an undo writes all of it. Adams changes a
# patient's telephone number, Baker then enters an allergy: when Adams takes back the number, the allergy is gone too. The undo of a
# new record deletes it with all that has been attached to it by others. The history has a row as it was before each change, and an
# undo adds none, so no record has the allergy any more. Baker's own undo then brings back the number. No error, no warning.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-undo-revision==3.1.0 django-simple-history==3.13.0 Django==5.2.3 \
    2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
mkdir clinic
touch clinic/__init__.py
cat >clinic/models.py <<'END'
from django.db import models
from undo_revision.models import HistoricalModel


class Clerk(models.Model):
    name = models.CharField(max_length=20)


class Patient(HistoricalModel):
    telephone = models.CharField(max_length=20)
    allergy = models.CharField(max_length=40, blank=True)


class Visit(HistoricalModel):
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE)
END
"$folder/venv/bin/python" - <<'END'
import importlib.metadata, sys
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "simple_history", "undo_revision", "clinic"], USE_TZ=True,
    UNDO_REVISION_SCOPE_MODEL="clinic.Clerk", DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "clinic.sqlite3"}})
django.setup()
from django.core.management import call_command
from clinic.models import Clerk, Patient, Visit
from undo_revision.revision.context import open_revision
from undo_revision.revision.undo import undo_last_revision

call_command("migrate", run_syncdb=True, verbosity=0)
print("django-undo-revision", importlib.metadata.version("django-undo-revision"))
adams, baker = Clerk.objects.create(name="Adams"), Clerk.objects.create(name="Baker")
number = Patient.objects.create(telephone="555-0100").pk


def change(clerk, **values):
    """Lets a clerk change fields of the patient, as a form for them does."""
    with open_revision(scope_id=clerk.pk):
        patient = Patient.objects.get(pk=number)
        for name, value in values.items():
            setattr(patient, name, value)
        patient.save(update_fields=list(values))


def look(title):
    patient = Patient.objects.get(pk=number)
    seen = patient.telephone, patient.allergy
    print(f"{title}: telephone {seen[0]}, allergy {seen[1] or 'none'}")
    return seen


change(adams, telephone="555-0199")
change(baker, allergy="penicillin")
before = look("Adams has changed the number, then Baker has entered an allergy")
undo_last_revision(adams)
after = look("Adams takes back the number")
undo_last_revision(baker)
last = look("Baker takes back the allergy")
history = list(Patient.history.values_list("allergy", flat=True))
print("   the allergy in the history:", "penicillin" in history)

with open_revision(scope_id=adams.pk):
    second = Patient.objects.create(telephone="555-0111")
with open_revision(scope_id=baker.pk):
    Visit.objects.create(patient=second)
undo_last_revision(adams)
visits = Visit.objects.count()
print(f"Adams has added a patient, Baker a visit, and Adams takes back the patient: {visits} visits")
sys.exit(not (
    before == ("555-0199", "penicillin") and after == ("555-0100", "") and last == ("555-0199", "")
    and "penicillin" not in history and visits == 0
))
END
