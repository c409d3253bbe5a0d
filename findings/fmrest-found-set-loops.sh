#!/bin/sh
# A loop over a found set of python-fmrest ends after the first record if its body looks through the found set again.
#
# A Foundset reads its records from a generator and keeps them for the next loop. Two loops at a time share that generator:
# the inner one takes what the outer one was to get. So "for record in found:" with list(found), len(list(found)) or a search
# for duplicates in its body handles one record of many, without an error, and the same code is right as soon as the found
# set was read once before. A field that is called recordId or modId comes with FileMaker's own numbers in place of its text.
#
# Needs python3 and its venv, and openssl. FileMaker's Data API is a small server in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check python-fmrest==1.8.0 2>"$folder/log"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$folder/key.pem" -out "$folder/cert.pem" -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null

"$folder/venv/bin/python" - "$folder" <<'END'
import json, ssl, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
import fmrest

folder = sys.argv[1]
ROWS = [
    {"recordId": str(40 + at), "modId": "3", "fieldData": {"name": name, "recordId": f"REC-{at}"}, "portalData": {}}
    for at, name in enumerate(("Adams", "Brown", "Clark", "Adams"))
]

class DataApi(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({"token": "token"})

    def do_GET(self):
        self.answer({"dataInfo": {"foundCount": len(ROWS), "returnedCount": len(ROWS)}, "data": ROWS})

    def answer(self, response):
        body = json.dumps({"response": response, "messages": [{"code": "0", "message": "OK"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-FM-Data-Access-Token", "token")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), DataApi)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()

filemaker = fmrest.Server(
    f"https://localhost:{server.server_port}", user="reader", password="reader", database="clinic", layout="Patients",
    verify_ssl=f"{folder}/cert.pem", api_version="vLatest",
)
filemaker.login()
print("python-fmrest", version("python-fmrest"), "- records found:", len(ROWS))

def compared(found):
    """Each record with the number of records of its name."""
    return [(record.name, sum(other.name == record.name for other in found)) for record in found]

first, found = compared(filemaker.get_records()), filemaker.get_records()
names = [record.name for record in found]
again = compared(found)
print("compared with each other:", first)
print("the same, after a loop before:", again)
record = filemaker.get_records()[0]
print("the field recordId holds", ROWS[0]["fieldData"]["recordId"], "and reads", record["recordId"])
right = first == [("Adams", 2)] and again == [("Adams", 2), ("Brown", 1), ("Clark", 1), ("Adams", 2)]
sys.exit(not (right and len(names) == len(ROWS) and record["recordId"] == "40"))
END
