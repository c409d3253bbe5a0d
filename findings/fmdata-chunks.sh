#!/bin/sh
# fmdata deletes 150 of 250 records, without an error, if it reads the found set by hundreds; update() leaves as many as they were.
#
# Its README has chunking for large found sets. The chunks are read while the loop works: each asks FileMaker for the same find
# again, from record 101, 201 and so on. delete(), and update() of a field that is searched for ("is_sent" from 0 to 1), take
# records out of that find, so that the second hundred moves up to the first one's place and is passed over. The README warns
# of changes by others between the chunks; here it is the library's own call. If a chunk cannot be read, the loop raises that
# error once: a second loop over the same found set, len() and list() end at that place as if there were no more records.
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

rows, broken = {}, set()

class DataApi(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        if not self.path.endswith("/_find"):
            return self.answer({"token": "token"})
        first, limit = int(body["offset"]), int(body["limit"])
        if first in broken:
            return self.answer({}, "802", "Unable to open file")
        sent = body["query"][0]["Sent"].removeprefix("==")
        found = [
            {"recordId": str(at), "modId": "0", "fieldData": {"Name": f"Patient {at}", "Sent": value}, "portalData": {}}
            for at, value in rows.items() if value == sent
        ]
        page = found[first - 1:first - 1 + limit]
        self.answer({"dataInfo": {"foundCount": len(found), "returnedCount": len(page)}, "data": page})

    def do_PATCH(self):
        rows[int(self.path.rsplit("/")[-1])] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["fieldData"]["Sent"]
        self.answer({"modId": "1"})

    def do_DELETE(self):
        del rows[int(self.path.rsplit("/")[-1])]
        self.answer({})

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
    name = fmdata.String(field_name="Name", field_type=FMFieldType.Text)
    sent = fmdata.String(field_name="Sent", field_type=FMFieldType.Text)

def start():
    rows.clear()
    rows.update({at: "0" for at in range(1, 251)})
    return Patient.objects.find(sent="0")

print("fmdata", version("fmdata"), "- records found:", len(start()))
left = {}
for name, change in {"delete()": lambda some: some.delete(), "update()": lambda some: some.update({"sent": "1"})}.items():
    for size in (None, 100):
        found = start()
        change(found.chunking(size) if size else found)
        left[name, size] = [at for at, value in rows.items() if value == "0"]
        print(f"{name}, chunks of {size}: {len(left[name, size])} records are as they were", left[name, size][:1])

found, seen, error = start().chunking(100), 0, None
broken.add(201)
try:
    for _ in found:
        seen += 1
except Exception as raised:
    error = raised
broken.clear()
again = sum(1 for _ in found)
print(f"a loop that fails at the third chunk: {seen} records, {error}; the next loop: {again} records, len(): {len(found)}")

second = list(range(101, 201))
right = left == {(name, size): second if size else [] for name in ("delete()", "update()") for size in (None, 100)}
sys.exit(not (right and seen == again == len(found) == 200 and error))
END
