#!/bin/sh
# fmkr ends a repeating field at its first empty repetition: of the doses 5, (none), 20 in FileMaker's XML it gives ['5'].
#
# FMPXMLRESULT has one DATA element for each repetition, empty ones too, since their place has a meaning (morning, noon,
# evening). fmkr stops at the first empty one and leaves out all behind it, so that a field whose first repetition is empty
# comes as [], like one that is empty throughout. Web publishing gives a field in a portal a DATA element for each related
# record; fmkr takes the first alone, one allergy of three. There is no error, and what it returns does not tell how many
# there were. A value that stands behind an empty one is lost for a program that copies the records, or writes them back.
#
# Needs python3 and its venv. FileMaker's XML publishing is a small server in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fmkr==2026.1.6 lxml==6.1.3 2>"$folder/log"

"$folder/venv/bin/python" - <<'END_OF_PYTHON'
import sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from fmkr import FM

FIELDS = {"Name": 1, "Dose": 3, "Allergies::Substance": 1}
ROWS = {
    41: [["Adams"], ["5", "", "20"], ["Latex", "Penicillin", "Iodine"]],
    42: [["Brown"], ["", "10", "10"], ["Latex"]],
    43: [["Clark"], ["5", "10", "20"], ["Latex"]],
}

def column(values):
    return "<COL>" + "".join(f"<DATA>{value}</DATA>" for value in values) + "</COL>"

fields = "".join(f'<FIELD EMPTYOK="YES" MAXREPEAT="{n}" NAME="{name}" TYPE="TEXT"/>' for name, n in FIELDS.items())
rows = "".join(f'<ROW MODID="0" RECORDID="{at}">{"".join(map(column, row))}</ROW>' for at, row in ROWS.items())
BODY = (
    '<?xml version="1.0" encoding="UTF-8"?><FMPXMLRESULT xmlns="http://www.filemaker.com/fmpxmlresult">'
    '<ERRORCODE>0</ERRORCODE><PRODUCT BUILD="01/01/2025" NAME="FileMaker Web Publishing Engine" VERSION="21.0.1"/>'
    f'<DATABASE DATEFORMAT="MM/dd/yyyy" LAYOUT="Patients" NAME="clinic" RECORDS="{len(ROWS)}" TIMEFORMAT="HH:mm:ss"/>'
    f'<METADATA>{fields}</METADATA><RESULTSET FOUND="{len(ROWS)}">{rows}</RESULTSET></FMPXMLRESULT>'
).encode()

class Publishing(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/xml; charset=UTF-8")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Publishing)
threading.Thread(target=server.serve_forever, daemon=True).start()
filemaker = FM("127.0.0.1", server.server_port)
filemaker.set_db_data("clinic", "Patients")
filemaker.set_db_password("reader", "reader")
records = list(filemaker.fm_find_all())
server.shutdown()

print("fmkr", version("fmkr"))
for (at, written), record in zip(ROWS.items(), records):
    print(f"record {at}: doses {written[1]} -> {record['Dose']},", end=" ")
    print(f"allergies {written[2]} -> {record['Allergies::Substance']!r}")
doses = [record["Dose"] for record in records]
allergies = [record["Allergies::Substance"] for record in records]
sys.exit(not (doses == [["5"], [], ["5", "10", "20"]] and allergies == ["Latex"] * 3))
END_OF_PYTHON
