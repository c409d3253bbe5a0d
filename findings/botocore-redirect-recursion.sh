#!/bin/sh
# botocore answers a redirect of an S3 server that is not Amazon's by asking again, until Python's stack is full.
#
# A proxy before MinIO, Ceph or rclone that leads from http to https (301) is ordinary. botocore takes each 301, 302 and 307
# for Amazon's "the bucket is in another region" and asks for the region by HeadBucket, which is redirected too, and so on:
# one list_objects_v2 sends some eighty requests, whatever retries are configured, and ends in RecursionError, which is
# neither a ClientError nor a BotoCoreError. A client for a server with an address of its own has to look at the status
# itself (event needs-retry.s3).
#
# Needs python3 and its venv. The server is Python's own, on 127.0.0.1. Exit code 0: as described; 1: it is otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check boto3==1.44.5 botocore==1.44.5

"$folder/venv/bin/python" - <<'PROGRAM'
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

asked = []


class Proxy(BaseHTTPRequestHandler):
    """Leads everybody to https, as proxies do."""

    def redirect(self):
        asked.append(self.command)
        self.send_response(301)
        self.send_header("Location", f"https://127.0.0.1:1{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = redirect

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    aws_access_key_id="a",
    aws_secret_access_key="b",
    region_name="us-east-1",
    config=Config(retries={"total_max_attempts": 1}, proxies={}),
)
try:
    client.list_objects_v2(Bucket="bucket")
    found = "no error"
except (ClientError, BotoCoreError) as error:
    found = f"{type(error).__name__}, as documented"
except Exception as error:
    found = type(error).__name__
print(f"botocore {botocore.__version__}: one list_objects_v2 that is redirected: {found} after {len(asked)} requests")
sys.exit(0 if found == "RecursionError" and len(asked) > 50 else 1)
PROGRAM
