#!/bin/sh
# django-parquet-archive shows the archived visits of two apps as those of either, and doses lose the visit that they belong to.
#
# The package (0.1.2) writes old rows of a table to Parquet files, deletes them from the database, and lists the files in the admin.
# The folder has the name of the model alone, as the manual says; it does not say what follows. Files of clinic.Visit and study.Visit
# are in one folder, and the archive of each lists the rows of both as its own, with the patients of the other app and with numbers
# of visits that come twice. It refuses to archive a table whose rows others need, but SET_NULL does not count: if doses point to
# visits in this way, each dose of an archived visit is changed to one of no visit. Which it was is in no file, so that what was
# archived cannot be put together again. Both happen without a message.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-parquet-archive==0.1.2 django==5.2.19 polars==2.1.0 \
    2>"$folder/log"
mkdir "$folder/clinic" "$folder/study"
touch "$folder/clinic/__init__.py" "$folder/study/__init__.py"
cat >"$folder/clinic/models.py" <<'END'
from django.db import models

class Visit(models.Model):
    patient = models.IntegerField()
    day = models.DateField()

class Dose(models.Model):
    visit = models.ForeignKey(Visit, models.SET_NULL, null=True)
    mg = models.FloatField()
END
cat >"$folder/study/models.py" <<'END'
from django.db import models

class Visit(models.Model):
    patient = models.IntegerField()
    day = models.DateField()
END

PYTHONPATH=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
import django
from django.conf import settings

folder = sys.argv[1]
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages", "django.contrib.sessions",
        "django.contrib.admin", "parquet_archive", "clinic", "study",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/database"}},
    MEDIA_ROOT=f"{folder}/media", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True,
)
django.setup()
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command

call_command("migrate", verbosity=0, run_syncdb=True)
import clinic.models, study.models
from parquet_archive.archive import archive_tables
from parquet_archive.models import ArchivePolicy
from parquet_archive.query import ArchiveQuery
from parquet_archive.schema import relations_blocking_delete

print("django-parquet-archive", version("django-parquet-archive"))
for at, (model, patients) in enumerate({clinic.models.Visit: (7, 8), study.models.Visit: (901, 902)}.items()):
    print(model._meta.label, "- relations that forbid to archive it:", relations_blocking_delete(model))
    for number, patient in enumerate(patients, start=1):
        model.objects.create(id=number, patient=patient, day=date(2019, 3, number + 2 * at))
    model.objects.create(id=3, patient=patients[0], day=date.today())
    ArchivePolicy.objects.create(
        content_type=ContentType.objects.get_for_model(model),
        config={
            "rows_per_file": 1000, "partition_field": None, "ordering": ["id"],
            "filter": {"fields": ["day"], "keep_for": 1, "unit": "years"},
            "schema": {"id": "Int64", "patient": "Int64", "day": "Date"},
        },
    )
for visit, mg in ((1, 5), (2, 10), (3, 20)):
    clinic.models.Dose.objects.create(visit_id=visit, mg=mg)
archive_tables()
files = sorted(path.parent.name for path in Path(folder, "media").rglob("*.parquet"))
listed = {
    model._meta.label: sorted((visit.pk, visit.patient) for visit in ArchiveQuery(model))
    for model in (clinic.models.Visit, study.models.Visit)
}
doses = list(clinic.models.Dose.objects.order_by("mg").values_list("mg", "visit_id"))
print("folders of the files:", *files)
print("archived visits and their patients:", *listed.items(), sep="\n")
print("doses and their visits, which were 1, 2 and 3:", *doses)
both = [(1, 7), (1, 901), (2, 8), (2, 902)]
right = files == ["visit", "visit"] and all(visits == both for visits in listed.values())
sys.exit(not (right and doses == [(5, None), (10, None), (20, 3)]))
END
