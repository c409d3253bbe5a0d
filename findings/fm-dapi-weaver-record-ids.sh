#!/bin/sh
# python-fm-dapi-weaver deletes Baker instead of Adams if the layout has a field recordId, and gives 100 of 250 patients as all.
#
# The package (1.2.1) is a server between an application and FileMaker's Data API. It puts a record's id, by which records are updated
# and deleted, among the record's fields, and a field of the same name replaces it. After a move to a new file such a field may hold
# the old ids, which are ids of other patients now. Its manual says that getAllRecords without a limit fetches all.
# FileMaker gives 100 records unless it is told otherwise, and counts from 1: pages of 10 whose second one has the offset 10 have the
# tenth patient twice, and never the last. A find may ask for portals; FileMaker's answer has their rows, the package's has none.
#
# Needs python3 and its venv. FileMaker's Data API is a small server in this script. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check python-fm-dapi-weaver==1.2.1 fastapi==0.165.0 uvicorn==0.54.0 \
    requests==2.34.2 trustme==1.2.1 2>"$folder/log"
cd "$folder"

venv/bin/python -W ignore - <<'END'
import json, socket, ssl, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit
import requests, trustme, uvicorn
from python_fm_dapi_weaver.main import app

# FileMaker's own ids, the field recordId and the name.
patients = {"1": {"recordId": "2", "name": "Adams"}, "2": {"recordId": "1", "name": "Baker"}}
patients |= {str(number): {"recordId": str(number), "name": f"Patient {number}"} for number in range(3, 251)}

class FileMaker(BaseHTTPRequestHandler):
    def answer(self, ids=()):
        data = [{"fieldData": patients[id], "portalData": {"Doses": [{"Doses::mg": 5, "recordId": "1"}]}, "recordId": id,
                 "modId": "0"} for id in ids]
        info = {"table": "Patients", "layout": "Patients", "totalRecordCount": len(patients), "foundCount": len(patients)}
        body = {"response": {"token": "token", "data": data, "dataInfo": info}, "messages": [{"code": "0", "message": "OK"}]}
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        url = urlsplit(self.path)
        asked = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
        first = asked.get("_offset", 1) - 1
        self.answer(list(patients)[first:first + asked.get("_limit", 100)] if url.path.endswith("/records") else ())

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        names = [query["name"] for query in asked.get("query", [])]
        self.answer([id for id, fields in patients.items() if fields["name"] in names])

    def do_DELETE(self):
        del patients[self.path.rsplit("/", 1)[1]]
        self.answer()

    def log_message(self, *_):
        pass

certificate = trustme.CA().issue_cert("127.0.0.1")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
certificate.configure_cert(context)
filemaker = ThreadingHTTPServer(("127.0.0.1", 0), FileMaker)
filemaker.socket = context.wrap_socket(filemaker.socket, server_side=True)
threading.Thread(target=filemaker.serve_forever, daemon=True).start()

door = socket.create_server(("127.0.0.1", 0))
weaver = uvicorn.Server(uvicorn.Config(app, log_level="error"))
threading.Thread(target=weaver.run, kwargs={"sockets": [door]}, daemon=True).start()
while not weaver.started:
    time.sleep(0.05)

def call(method, **body):
    request = {"fmServer": f"127.0.0.1:{filemaker.server_port}", "method": method,
               "methodBody": {"database": "clinic", "layout": "Patients", **body}, "session": {"token": "token", "required": True}}
    answer = requests.post(f"http://127.0.0.1:{door.getsockname()[1]}/api/dataApi", json=request, auth=("reader", "reader"), timeout=30)
    answer.raise_for_status()
    return answer.json()

print("python-fm-dapi-weaver", version("python-fm-dapi-weaver"))
every = call("getAllRecords")
print("getAllRecords without a limit:", len(every["records"]), "of", every["recordInfo"]["foundCount"])
pages = [record["name"] for offset in (None, *range(10, 250, 10)) for record in call("getAllRecords", offset=offset, limit=10)["records"]]
print("pages of 10:", len(pages), "records,", len(set(pages)), "patients; the last one is read:", "Patient 250" in pages)
[adams] = call("findRecord", query=[{"name": "Adams"}], portal=["Doses"])["records"]
print("find Adams, with the portal Doses:", adams)
print("deleteRecord:", call("deleteRecord", recordId=adams["recordId"]))
left = [fields["name"] for fields in list(patients.values())[:2]]
print("the first patients that are left:", *left)
weaver.should_exit = True
filemaker.shutdown()
sys.exit(not (
    len(every["records"]) == 100 and every["recordInfo"]["foundCount"] == 250
    and len(pages) == 250 and len(set(pages)) == 249 and "Patient 250" not in pages
    and adams == {"recordId": "2", "name": "Adams"} and left == ["Adams", "Patient 3"]
))
END
