#!/bin/sh
# one() of python-odata gives the first of several patients: the error that it documents for that, MultipleResultsFound, never comes.
#
# one() is documented as "return only one resulting entity", with an error if there are several. It asks the server for one row
# ($top=1), so it cannot see a second (0.8.1): of two patients of the same name and day of birth it gives the one that the server
# lists first, and whatever is written next is written to that one. limit(n) has a similar gap: the rows come in pages, as long as
# the server sends a link to the next; with a limit the link is not followed. Of limit(15000) the first page is left, with
# FileMaker 10,000 rows at most, where all() without a limit gives every row. There is no error and no warning.
#
# Needs python3 and its venv. FileMaker's OData is a small server in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check python-odata==0.8.1 2>"$folder/log"

"$folder/venv/bin/python" - <<'END'
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit
from odata import ODataService
from odata.exceptions import MultipleResultsFound, NoResultsFound

PAGE = 10_000  # FileMaker's longest answer
people = [{"Id": f"P{at}", "Name": "Ann Adams" if at in (17, 11_000) else f"Patient {at}", "Birth": "1970-01-02"} for at in range(20_000)]
METADATA = """<?xml version="1.0"?>
<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0"><edmx:DataServices>
<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="clinic"><EntityType Name="Patients_"><Key><PropertyRef Name="Id"/></Key>
<Property Name="Id" Type="Edm.String"/><Property Name="Name" Type="Edm.String"/><Property Name="Birth" Type="Edm.Date"/></EntityType>
<EntityContainer Name="Container"><EntitySet Name="Patients" EntityType="clinic.Patients_"/></EntityContainer>
</Schema></edmx:DataServices></edmx:Edmx>"""


class FileMaker(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        if url.path.endswith("$metadata"):
            return self.answer("application/xml", METADATA)
        asked = {name: value for name, (value,) in parse_qs(url.query).items()}
        rows = people
        if "$filter" in asked:
            rows = [row for row in people if asked["$filter"] == f"(Name eq '{row['Name']}')"]
        rows = rows[int(asked.get("$skip", 0)) :]
        rows = rows[: int(asked.get("$top", len(rows)))]
        body = {"value": rows[:PAGE]}
        if len(rows) > PAGE:
            top = f"&$top={int(asked['$top']) - PAGE}" if "$top" in asked else ""
            body["@odata.nextLink"] = f"Patients?$skip={int(asked.get('$skip', 0)) + PAGE}{top}"
        self.answer("application/json", json.dumps(body))

    def answer(self, kind, text):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), FileMaker)
threading.Thread(target=server.serve_forever, daemon=True).start()
service = ODataService(f"http://127.0.0.1:{server.server_port}/fmi/odata/v4/clinic/", reflect_entities=True, quiet_progress=True)
Patient = service.entities["Patients"]
print("python-odata", version("python-odata"))

named = service.query(Patient).filter(Patient.Name == "Ann Adams")
try:
    one = named.one().Id
except MultipleResultsFound as error:
    one = type(error).__name__
try:
    none = service.query(Patient).filter(Patient.Name == "Nobody").one().Id
except NoResultsFound as error:
    none = type(error).__name__
print("patients of this name:", *(patient.Id for patient in named.all()), "- one():", one, "- of no patient:", none)
sizes = {"all()": len(service.query(Patient).all())}
for limit in (10_000, 15_000):
    sizes[f"limit({limit})"] = len(service.query(Patient).limit(limit).all())
print(f"{len(people)} patients -", *(f"{call}: {rows}" for call, rows in sizes.items()))
server.shutdown()
sys.exit((one, none, *sizes.values()) != ("P17", "NoResultsFound", 20_000, 10_000, 10_000))
END
