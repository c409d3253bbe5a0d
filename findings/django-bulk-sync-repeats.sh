#!/bin/sh
# bulk_sync() of django-bulk-sync adds a copy with each run if a key comes twice in its input: 3 records, after five runs 7 rows.
#
# The function makes a table equal to a list of records, which it matches by key_fields. Of rows with one key it knows the last
# alone. The first record of that key is matched with it, and each other one is new: it is created again in every run, and the
# rows of before are neither updated nor deleted, since nothing points to them. One chart number that two records share, or two
# empty ones, are enough. The counts that it returns look as usual (1 created, 2 updated, 0 deleted), and there is no error. A
# correction does not help either: when the source names the key once, one row is changed and all copies stay as they were.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-bulk-sync==3.3.0 Django==5.2.19 2>"$folder/log"

"$folder/venv/bin/python" - <<'END'
import sys
from importlib.metadata import version
import django
from django.conf import settings

databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
settings.configure(DATABASES=databases, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()
from bulk_sync import bulk_sync
from django.db import connection, models

class Dose(models.Model):
    chart = models.CharField(max_length=20)
    mg = models.IntegerField()

    class Meta:
        app_label = "clinic"

with connection.schema_editor() as editor:
    editor.create_model(Dose)

def sync(*records):
    """Make the table equal to `records`, pairs of chart number and dose, and return the counts of bulk_sync()."""
    new = [Dose(chart=chart, mg=mg) for chart, mg in records]
    return bulk_sync(new_models=new, key_fields=("chart",), filters=None, db_class=Dose)["stats"]

def table():
    return list(Dose.objects.order_by("chart", "pk").values_list("chart", "mg"))

print("django-bulk-sync", version("django-bulk-sync"))
source = [("C-1", 5), ("C-2", 10), ("C-2", 20)]
counts = []
for run in range(1, 6):
    stats = sync(*source)
    counts.append(Dose.objects.count())
    print(f"run {run}: {stats}, {counts[-1]} rows for {len(source)} records")
    if run == 5:
        usual = stats
print("the table:", table())
corrected = sync(("C-1", 5), ("C-2", 40))
print("after a correction, C-2 has 40 mg once:", corrected, table())
right = counts == [3, 4, 5, 6, 7] and usual == {"created": 1, "updated": 2, "deleted": 0}
right &= len(table()) == 7 and sum(row == ("C-2", 40) for row in table()) == 1
sys.exit(not right)
END
