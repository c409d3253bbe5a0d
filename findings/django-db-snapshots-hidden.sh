#!/bin/sh
# A backup by django-db-snapshots lacks the patients that the model's manager hides, and loading it deletes them from the database.
#
# snapshot_backup (0.1.0) is to "dump every model"; it reads each one through its default manager. Many models have one that leaves out
# rows: merged, archived or deleted patients. snapshot_load empties the whole table and loads the file, so that these are gone, and so is
# the record of who was merged with whom. "It always loads": not if a visit belongs to such a patient. The other way round, a model
# without any row is not in the file, and "only what the snapshot holds" is emptied: where the source has no visits, the visits of
# the target stay, and with SQLite belong to whoever has the number of their patient now. The log counts what it wrote, all exit
# codes are 0. (dumpdata itself has --all for hidden rows.)
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-db-snapshots==0.1.0 django==5.2.9 2>"$folder/log"

cd "$folder"
mkdir clinic
touch clinic/__init__.py
cat >clinic/models.py <<'END_OF_MODELS'
from django.db import models

class Current(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(merged_into=None)

class Patient(models.Model):
    name = models.CharField(max_length=50)
    merged_into = models.ForeignKey("self", models.PROTECT, null=True)
    objects = Current()
    everybody = models.Manager()

class Visit(models.Model):
    patient = models.ForeignKey(Patient, models.PROTECT)
    note = models.CharField(max_length=50)
END_OF_MODELS
cat >manage.py <<'END_OF_MANAGE'
"""Runs commands of Django on the database that SITE names."""
import os, sys
from django.conf import settings
from django.core.management import execute_from_command_line

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin", "django.contrib.messages", "db_snapshots", "clinic"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{os.environ['SITE']}.db"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", DEBUG=True, MEDIA_ROOT="stored", SECRET_KEY="not secret",
    DB_SNAPSHOTS={"ALLOW_LOAD": True}, SILENCED_SYSTEM_CHECKS=["admin.E403", "admin.E408", "admin.E409", "admin.E410"],
)
execute_from_command_line(sys.argv)
END_OF_MANAGE

"$folder/venv/bin/python" - <<'END'
import os, sqlite3, subprocess, sys
from importlib.metadata import version

def manage(site, *command):
    done = subprocess.run(["venv/bin/python", "manage.py", *command], capture_output=True, text=True, env={**os.environ, "SITE": site})
    print(f"{site}: {' '.join(command)}: exit code {done.returncode}", *done.stdout.splitlines()[1:2], *done.stderr.splitlines()[-1:])
    return done.returncode

def sql(site, statement, *values):
    with sqlite3.connect(f"{site}.db") as database:
        return database.execute(statement, values).fetchall()

def patients(site, *rows):
    for number, name, merged_into in rows:
        sql(site, "INSERT INTO clinic_patient (id, name, merged_into_id) VALUES (?, ?, ?)", number, name, merged_into)

print("django-db-snapshots", version("django-db-snapshots"), "- django", version("django"))
for site in ("clinic", "copy", "visits"):
    assert manage(site, "migrate", "--run-syncdb", "--verbosity=0") == 0
patients("clinic", (1, "Adams", None), (2, "Adams, born Brown", 1))
codes = [manage("clinic", "snapshot_backup"), manage("clinic", "snapshot_load", "--name=backup.jsonl.gz", "--no-input")]
restored = sql("clinic", "SELECT name FROM clinic_patient ORDER BY id")
print("patients after the backup was loaded:", restored)

patients("copy", (1, "Clark", None))
sql("copy", "INSERT INTO clinic_visit (patient_id, note) VALUES (1, 'knee')")
codes.append(manage("copy", "snapshot_load", "--name=backup.jsonl.gz", "--no-input"))
mixed = sql("copy", "SELECT name, note FROM clinic_visit JOIN clinic_patient ON clinic_patient.id = patient_id")
print("visits in the copy, where Clark was patient 1 and had one, and the clinic has none:", mixed)

patients("visits", (1, "Adams", None), (2, "Adams, born Brown", 1))
sql("visits", "INSERT INTO clinic_visit (patient_id, note) VALUES (2, 'knee')")
codes.append(manage("visits", "snapshot_backup"))
refused = manage("visits", "snapshot_load", "--name=backup.jsonl.gz", "--no-input")
sys.exit(not (codes == [0, 0, 0, 0] and restored == [("Adams",)] and mixed == [("Adams", "knee")] and refused == 1))
END
