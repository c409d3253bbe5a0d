#!/bin/sh
# Airflow's FileMakerToS3Operator uploads the first 10,000 rows of a table, or fewer, and the task succeeds.
#
# arktci-airflow-provider-filemaker reads by pages. This operator stops after ten pages and asks for at most 1,000 rows each;
# no option changes that, and no document names it. The pager also takes every page that is shorter than it asked for as the
# last one, and a page that it cannot read as one without rows: FileMaker's OData may write a number without its zero (.5),
# which is no JSON and which the provider does not repair. One such number hides its own page and all pages behind it. In
# both cases the log says "Successfully uploaded", with the number of rows that were left.
#
# Needs python3.11 and its venv (the operator does not load on Airflow 3). FileMaker and S3 are small servers in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" arktci-airflow-provider-filemaker==2.4.2 \
    apache-airflow==2.11.0 apache-airflow-providers-amazon==9.39.0 'pandas<3'

AIRFLOW_HOME="$folder/airflow" "$folder/venv/bin/python" -W ignore - <<'END' 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
import logging, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

tables = {
    "Patients": [(f"P{at}", "70.5") for at in range(3_000)],
    "Notes": [(f"N{at}", "1") for at in range(12_000)],
    "Measurements": [(f"M{at}", ".5" if at == 1_500 else "0.25") for at in range(3_000)],
}

class FileMakerAndS3(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        asked = {name: int(value) for name, (value,) in parse_qs(url.query).items()}
        rows = tables[url.path.rpartition("/")[2]][asked["$skip"] :][: asked["$top"]]
        self.answer(b'{"value":[%s]}' % ",".join('{"id":"%s","number":%s}' % row for row in rows).encode())

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer()

    def answer(self, body=b""):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), FileMakerAndS3)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_port
os.environ["AIRFLOW_CONN_FILEMAKER_DEFAULT"] = f'{{"conn_type": "filemaker", "host": "http://127.0.0.1:{port}", "schema": "clinic"}}'
os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = (
    f'{{"conn_type": "aws", "login": "id", "password": "key", "extra": {{"endpoint_url": "http://127.0.0.1:{port}"}}}}'
)
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"

from airflow.providers.filemaker.hooks.filemaker import FileMakerHook
from airflow.providers.filemaker.operators.filemaker import FileMakerToS3Operator

FileMakerHook.get_token = lambda _: "token"  # Claris' cloud would give it
logging.disable(logging.CRITICAL)
print("provider", version("arktci-airflow-provider-filemaker"), "on Airflow", version("apache-airflow"))
uploaded = {}
for table, rows in tables.items():
    task = FileMakerToS3Operator(task_id=table, endpoint=f"/{table}", s3_bucket="clinic", s3_key=f"{table}.json")
    uploaded[table] = task.execute({})["records"]
    print(f"{table}: uploaded {uploaded[table]:,} of {len(rows):,} rows, no error")
sys.exit(list(uploaded.values()) != [3_000, 10_000, 1_000])
END
