#!/bin/sh
# A loop of pyfilemaker2 over all records by pages ends early, without an error, if one of the pages cannot be read.
#
# do_find_all(paginate=n) and the finds read by pages so that no request takes too long. By default a thread reads the pages
# while the loop works, and takes every error of a page for the end: if the connection is lost at the third page, or
# FileMaker answers it with an error (802, the file cannot be opened), the loop has the records of two pages and ends as a
# complete one does. Of the lost connection nothing is logged above the level INFO. With threaded_paginate=False the
# same calls raise. FileMaker's number of found records, total_records_number(), is there to compare with.
# A time of more than a day, below zero or with a part of a second, all valid in FileMaker, becomes None, as an empty one.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyfilemaker2==0.2.6 2>"$folder/log"

"$folder/venv/bin/python" - <<'END_OF_PYTHON'
import logging, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit
from pyfilemaker2 import FmServer

TIMES = ["08:30:00", "36:00:30", "-06:00:00", "08:30:00.5", ""] * 5
PAGE = 10

class Publishing(BaseHTTPRequestHandler):
    refusal = "is read"

    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query)
        first, error = int(asked["-skip"][0]), 0
        rows = list(enumerate(TIMES, 1))[first : first + int(asked["-max"][0])]
        if first == 2 * PAGE and self.refusal == "is lost":
            return  # the connection is closed without an answer
        if first == 2 * PAGE and self.refusal == "is error 802":
            rows, error = [], 802
        self.answer(rows, error)

    def answer(self, rows, error):
        records = "".join(
            f'<record mod-id="0" record-id="{at}"><field name="Begin"><data>{time}</data></field></record>'
            for at, time in rows
        )
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><fmresultset xmlns="http://www.filemaker.com/xml/fmresultset" version="1.0">'
            f'<error code="{error}"/><product build="01/01/2025" name="FileMaker Web Publishing Engine" version="21.0.1"/>'
            '<datasource database="clinic" layout="Visits" table="Visits" date-format="MM/dd/yyyy" time-format="HH:mm:ss"'
            f' timestamp-format="MM/dd/yyyy HH:mm:ss" total-count="{len(TIMES)}"/><metadata><field-definition name="Begin"'
            ' result="time" type="normal" max-repeat="1" auto-enter="no" global="no" not-empty="no"/></metadata>'
            f'<resultset count="{len(TIMES)}" fetch-size="{len(rows)}">{records}</resultset></fmresultset>'
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

class Log(logging.Handler):
    def emit(self, record):
        logged.append(record.levelname)

def read(**options):
    """The records of a loop over all of them, or the name of its error; and what FileMaker says that it found."""
    filemaker = FmServer(url=f"http://reader:reader@127.0.0.1:{server.server_port}/", db="clinic", layout="Visits", **options)
    try:
        records = list(filemaker.do_find_all(paginate=PAGE))
    except Exception as error:
        return type(error).__name__, filemaker.total_records_number(), []
    return len(records), filemaker.total_records_number(), [record["Begin"] for record in records[:5]]

logged = []
logger = logging.getLogger("pyfilemaker2")
logger.addHandler(Log(logging.WARNING))
logger.propagate = False
server = ThreadingHTTPServer(("127.0.0.1", 0), Publishing)
threading.Thread(target=server.serve_forever, daemon=True).start()

print("pyfilemaker2", version("pyfilemaker2"))
seen = []
for refusal in ("is read", "is lost", "is error 802"):
    Publishing.refusal = refusal
    logged.clear()
    count, found, times = read()
    seen.append((count, found, list(logged)))
    print(f"third page {refusal}: {count} records of {found}, logged: {logged or 'nothing'};", end=" ")
    plain = read(threaded_paginate=False)[0]
    seen.append(plain)
    print("with threaded_paginate=False:", plain)
print("times", TIMES[:5], "->", [str(time) for time in times])
server.shutdown()
counts, plain = seen[::2], seen[1::2]
right = counts[:2] == [(25, 25, []), (20, 25, [])] and counts[2][:2] == (20, 25) and plain[0] == 25
right = right and not any(isinstance(count, int) for count in plain[1:])
sys.exit(not (right and times[0] is not None and times[1:] == [None] * 4))
END_OF_PYTHON
