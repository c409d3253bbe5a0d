#!/bin/sh
# save(check_mod_id=True) of fmdata overwrites what a colleague has changed if the record came from get(): it sends no modId.
#
# FileMaker counts the changes of a record (modId) and refuses one that names an older count; the README has check_mod_id=True
# for that, so that nobody's change is overwritten unseen. get() and refresh_from_db() read the fields and not the count. So
# a record from get() has none, and the check is left out without a word; after refresh_from_db() the old count is sent, and a
# right change is refused. Without the check, save() sends not what was changed since the last save(), as the README says, but
# all that was ever set on the object: to write a note also writes back the dose that a colleague has corrected meanwhile.
#
# Needs python3 and its venv. FileMaker's Data API is a small server in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fmdata==0.1.5 2>"$folder/log"

"$folder/venv/bin/python" - <<'END'
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
import fmdata
from fmdata import FMFieldType
from fmdata.orm import Model

record, sent = {}, []

def start():
    record.update(modId=3, Dose="5", Note="")
    sent.clear()

def colleague():
    record.update(modId=record["modId"] + 1, Dose="10")

class DataApi(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(self.found() if self.path.endswith("/_find") else {"token": "token"})

    def do_GET(self):
        self.answer(self.found())

    def do_PATCH(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        sent.append(body)
        if body.get("modId", str(record["modId"])) != str(record["modId"]):
            return self.answer({}, "306", "Record modification ID does not match")
        record.update(body["fieldData"], modId=record["modId"] + 1)
        self.answer({"modId": str(record["modId"])})

    def found(self):
        fields = {name: record[name] for name in ("Dose", "Note")}
        row = {"recordId": "41", "modId": str(record["modId"]), "fieldData": fields, "portalData": {}}
        return {"dataInfo": {"foundCount": 1, "returnedCount": 1}, "data": [row]}

    def answer(self, response, code="0", message="OK"):
        body = json.dumps({"response": response, "messages": [{"code": code, "message": message}]}).encode()
        self.send_response(200 if code == "0" else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), DataApi)
threading.Thread(target=server.serve_forever, daemon=True).start()
filemaker = fmdata.Client(
    url=f"http://127.0.0.1:{server.server_port}", database="clinic", version="22",
    login_provider=fmdata.UsernamePasswordLogin("reader", "reader"),
)

class Patient(Model):
    class Meta:
        client, layout = filemaker, "Patients"
    dose = fmdata.String(field_name="Dose", field_type=FMFieldType.Text)
    note = fmdata.String(field_name="Note", field_type=FMFieldType.Text)

def saved(patient, **options):
    try:
        patient.save(**options)
    except Exception as error:
        return str(error)
    return "saved"

def show(case, answer):
    print(f"{case}: {answer}; sent {sent[-1]}; FileMaker has {record}")

print("fmdata", version("fmdata"))
start()
patient = Patient.objects.find(note="")[0]
colleague()
patient.dose = "20"
refused = saved(patient, check_mod_id=True)
show("found, then changed by a colleague, checked", refused)

start()
patient = Patient.objects.get("41")
colleague()
patient.dose = "20"
overwritten = saved(patient, check_mod_id=True), "modId" in sent[-1], record["Dose"]
show("from get(), then changed by a colleague, checked", overwritten[0])

start()
patient = Patient.objects.find(note="")[0]
colleague()
patient.refresh_from_db()
patient.note = "called"
fresh = saved(patient, check_mod_id=True)
show("found, changed by a colleague, refreshed, checked", fresh)

start()
patient = Patient.objects.find(note="")[0]
patient.dose = "7"
first = saved(patient)
colleague()
patient.note = "called"
second = saved(patient)
show("dose saved, corrected by a colleague, then a note saved", second)

right = refused == fresh == "FileMaker Server returned error 306, Record modification ID does not match"
right &= overwritten == ("saved", False, "20")
right &= first == second == "saved" and sent[-1]["fieldData"] == {"Dose": "7", "Note": "called"} and record["Dose"] == "7"
sys.exit(not right)
END
