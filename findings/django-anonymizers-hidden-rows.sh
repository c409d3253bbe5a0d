#!/bin/sh
# django-scrubber and dj-anonymizer leave patients as they are whom the model's manager hides: those that were marked as deleted.
#
# Many Django models have a manager that leaves out rows: deleted, merged or archived ones. Django's dumpdata and pg_dump write
# them nevertheless. Both tools take what they change from the manager "objects", so the names of exactly those patients stay in
# the copy that is given away. The checks of both look at models and fields, not at rows, and pass; the log names the model as
# done. dj-anonymizer also "cleans" a table so: it deletes the visible rows, and the others remain.
#
# Needs python3 and its venv. Exit code 0: as described; 1: they behave otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-scrubber==8.0.0 dj-anonymizer==0.7.1 Django==5.2.19 \
    Faker==40.63.0 2>"$folder/log"

cd "$folder"
mkdir clinic anonymizer
touch clinic/__init__.py
cat >clinic/models.py <<'END'
from django.db import models
from django_scrubber import scrubbers

class Present(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(deleted=False)

class Patient(models.Model):
    name = models.CharField(max_length=100)
    deleted = models.BooleanField(default=False)
    objects = Present()
    everyone = models.Manager()

    class Scrubbers:
        name = scrubbers.Faker("name")

class Note(models.Model):
    text = models.CharField(max_length=100)
    deleted = models.BooleanField(default=False)
    objects = Present()
    everyone = models.Manager()

    class Scrubbers:
        text = scrubbers.Lorem
END
cat >anonymizer/clinic.py <<'END'
from clinic.models import Note, Patient
from dj_anonymizer import fields, register_models

class PatientAnonym(register_models.AnonymBase):
    name = fields.string("Patient {seq}")

    class Meta:
        exclude_fields = ["deleted"]

register_models.register_anonym([(Patient, PatientAnonym)])
register_models.register_clean([(Note, register_models.AnonymBase)])
END
cat >run.py <<'END'
import json, sys
from importlib.metadata import version
from io import StringIO
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    DEBUG=True, DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.sessions", "django_scrubber", "dj_anonymizer", "clinic"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", SCRUBBER_STRICT_MODE=True,
)
django.setup()
from clinic.models import Note, Patient

call_command("migrate", run_syncdb=True, verbosity=0)
people = [("Adams", False), ("Brown", True), ("Clark", False)]

def fill():
    Patient.everyone.all().delete()
    Note.everyone.all().delete()
    for name, deleted in people:
        Patient.everyone.create(name=name, deleted=deleted)
        Note.everyone.create(text=f"{name} called", deleted=deleted)

def dumped():
    """What dumpdata writes of the table: the texts of all patients and notes that are as they were."""
    out = StringIO()
    call_command("dumpdata", "clinic", all=True, stdout=out)
    texts = [row["fields"].get("name") or row["fields"]["text"] for row in json.loads(out.getvalue())]
    return [text for text in texts if text.split()[0] in dict(people)]

left = {}
for package, command in {"django-scrubber": ["scrub_data"], "dj-anonymizer": ["anonymize_db", "--soft_mode"]}.items():
    fill()
    out = StringIO()
    call_command(*command, stdout=out)
    left[package] = dumped()
    print(f"{package} {version(package)}, of the patients", [name for name, _ in people], "leaves:", left[package])
sys.exit(left != dict.fromkeys(left, ["Brown", "Brown called"]))
END
PYTHONPATH=$folder "$folder/venv/bin/python" run.py
