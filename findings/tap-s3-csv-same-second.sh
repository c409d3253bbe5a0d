#!/bin/sh
# tap-s3-csv never reads a file that came to the bucket in the same second as the last file that it has read.
#
# The Singer tap (2.3.1) keeps the time of the last file as its bookmark, and asks for files that are later. S3 gives the time in whole
# seconds, and a program that copies an export uploads several files in each. If a file comes after the listing, or the run ends
# with an error between two files of one second, the bookmark is that second: every later run passes over what is left of it,
# with exit code 0. Whoever corrects the catalog after an error and starts again gets none of the files that the error has kept
# back. The log has "Found 4 files." and "Wrote 0 records"; nothing says that some of them were never read.
#
# Needs python3.11 and its venv. S3 is a small server in this script. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tap-s3-csv==2.3.1 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import json, os, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

files = {}

class Bucket(BaseHTTPRequestHandler):
    def do_GET(self):
        key = urlsplit(self.path).path.removeprefix("/clinic").strip("/")
        body = files[key][1].encode() if key else (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>'
            + "".join(
                f"<Contents><Key>{name}</Key><LastModified>{time}</LastModified><Size>{len(text)}</Size></Contents>"
                for name, (time, text) in files.items()
            ) + "</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/csv" if key else "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
threading.Thread(target=server.serve_forever, daemon=True).start()
place = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "AWS_ACCESS_KEY_ID": "reader",
    "AWS_SECRET_ACCESS_KEY": "reader", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "HOME": os.getcwd()}
table = {"table_name": "visits", "search_prefix": "visits", "search_pattern": "csv$", "key_properties": "visit"}
Path("config.json").write_text(json.dumps({"start_date": "2026-01-01T00:00:00Z", "bucket": "clinic", "account_id": "1",
    "external_id": "1", "role_name": "reader", "tables": json.dumps([table])}))

def tap(*options):
    done = subprocess.run(["venv/bin/tap-s3-csv", "--config", "config.json", *options], capture_output=True, text=True,
        env={**os.environ, **place})
    return done.returncode, done.stdout

def discover():
    catalog = json.loads(tap("--discover")[1])
    for entry in catalog["streams"][0]["metadata"]:
        if not entry["breadcrumb"]:
            entry["metadata"]["selected"] = True
    Path("catalog.json").write_text(json.dumps(catalog))

def read(what):
    """Runs the tap from where the last run ended; returns its exit code and the visits that it gives."""
    code, out = tap("--catalog", "catalog.json", *(["--state", "state.json"] if Path("state.json").exists() else []))
    messages = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    states = [message["value"] for message in messages if message["type"] == "STATE"]
    if states:
        Path("state.json").write_text(json.dumps(states[-1]))
    rows = [message["record"] for message in messages if message["type"] == "RECORD"]
    print(f"{what}: exit code {code}, visits {[row['visit'] for row in rows]}")
    return code, [row["visit"] for row in rows]

print("tap-s3-csv", version("tap-s3-csv"))
second = "2026-01-05T09:00:00.000Z"
files["visits/a.csv"] = (second, "visit,dose\n1,5\n2,5\n")
discover()
first = read("a.csv")
files["visits/b.csv"] = (second, "visit,dose\n3,5\n")
late = read("b.csv, of the same second, has come")

files["visits/c.csv"] = ("2026-01-05T09:00:01.000Z", "visit,dose\n4,5\n")
files["visits/d.csv"] = ("2026-01-05T09:00:01.000Z", "visit,dose\n5,2.5\n")
error = read("c.csv and d.csv, of the next second, d.csv with a dose that is not as in the catalog")
discover()
mended = read("the catalog is corrected")
server.shutdown()
right = first == (0, [1, 2]) and late == (0, []) and error == (1, [4]) and mended == (0, [])
sys.exit(not right)
END
