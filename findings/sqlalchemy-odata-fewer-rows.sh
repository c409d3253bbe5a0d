#!/bin/sh
# sqlalchemy-odata answers a SELECT with the rows before a page that it could not get: count(*) of 1,200 doses is 500, no error.
#
# The dialect shows tables of an OData server to SQL (and to Superset), and reads them by pages of 500 rows, all anew for each
# statement. A page that fails, because the server does not answer in time, answers with an error, or writes what is no JSON, ends
# the table (0.2.3): one line goes to Python's log, and the statement goes on with what there is. FileMaker's OData may write a
# number without its zero (.5), which is no JSON, so one dose hides its page and all pages behind it. Sums are too small, and a
# LEFT JOIN shows patients as never treated. If the first page fails, the table is empty.
#
# Needs python3.11 and its venv. FileMaker's OData is a small server in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check sqlalchemy-odata==0.2.3 2>"$folder/log"

"$folder/venv/bin/python" -W ignore - <<'END'
import logging, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit
from sqlalchemy import create_engine, text

DOSES = 1_200
TYPES = {"Patients": {"Patient": "String"}, "Doses": {"Patient": "String", "Grams": "Decimal"}}
METADATA = """<?xml version="1.0"?>
<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0"><edmx:DataServices>
<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="clinic">%s<EntityContainer Name="Container">%s</EntityContainer>
</Schema></edmx:DataServices></edmx:Edmx>""" % (
    "".join(f'<EntityType Name="{name}_">' + "".join(f'<Property Name="{field}" Type="Edm.{kind}"/>' for field, kind in fields.items())
            + "</EntityType>" for name, fields in TYPES.items()),
    "".join(f'<EntitySet Name="{name}" EntityType="clinic.{name}_"/>' for name in TYPES),
)
fault = None


class FileMaker(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        if url.path.endswith("$metadata"):
            return self.answer(200, "application/xml", METADATA)
        asked = {name: int(value) for name, (value,) in parse_qs(url.query).items()}
        page = range(DOSES)[asked["$skip"] :][: asked["$top"]]
        if url.path.endswith("Patients"):
            rows = [f'{{"Patient":"P{at}"}}' for at in page]
        elif fault == "500" and page[0] == 500:
            return self.answer(500, "application/json", '{"error":{"code":"301","message":"record is locked"}}')
        else:
            rows = [f'{{"Patient":"P{at}","Grams":{".5" if (fault, at) == (".5", 700) else "0.5"}}}' for at in page]
        self.answer(200, "application/json", '{"value":[%s]}' % ",".join(rows))

    def answer(self, status, kind, content):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), FileMaker)
threading.Thread(target=server.serve_forever, daemon=True).start()
logging.disable(logging.CRITICAL)
engine = create_engine(f"odata://reader:reader@127.0.0.1:{server.server_port}/fmi/odata/v4/clinic")
print("sqlalchemy-odata", version("sqlalchemy-odata"))
UNTREATED = "SELECT count(*) FROM Patients LEFT JOIN Doses USING (Patient) WHERE Doses.Patient IS NULL"
seen = {}
for fault, meaning in [(None, "all pages are read"), (".5", "one dose is written as .5"), ("500", "the second page answers 500")]:
    with engine.connect() as connection:
        count, grams = connection.execute(text("SELECT count(*), sum(Grams) FROM Doses")).one()
        seen[fault] = [count, float(grams)]
        print(f"{meaning}: {count} doses, {grams} g", end="")
        if fault != "500":  # each scan of the table would wait for its retries
            seen[fault].append(connection.execute(text(UNTREATED)).scalar_one())
            print(f", {seen[fault][2]} of {DOSES} patients without a dose", end="")
        print()
server.shutdown()
sys.exit(seen != {None: [1_200, 600.0, 0], ".5": [500, 250.0, 700], "500": [500, 250.0]})
END
