#!/bin/sh
# S3ObjectStore of dagster-obstore takes an endpoint and never uses it: a copy from the old server to the new one goes to one of them.
#
# The resource (0.2.5) has the fields endpoint and region, "a custom endpoint for the S3 Store". create_store() passes on the keys alone.
# What is meant for the clinic's own server goes to Amazon: the request holds the file, in a bucket of that name, whoever owns it.
# Where AWS_ENDPOINT_URL is set for other programs, all resources use that server instead. So of two resources with two endpoints
# both are the same store: a test run writes to the real bucket, a move deletes the only copy of what it has copied onto itself, and
# a comparison of both finds no difference. There is no error. The log manager of the same package does use its endpoint.
#
# Needs python3.11 and its venv. The two S3 servers, and a proxy that lets nothing out, are in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dagster-obstore==0.2.5 obstore==0.12.1 dagster==1.13.27 2>"$folder/log"

cd "$folder"
DAGSTER_HOME="$folder" "$folder/venv/bin/python" - <<'END'
import os, re, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

def serve(files, asked):
    """Starts a small S3 server that keeps its objects in `files`; `asked` gets the hosts that it is asked for as a proxy."""
    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status, body=b""):
            self.send_response(status)
            for name, value in {"Content-Length": len(body), "ETag": '"1"', "Last-Modified": "Mon, 05 Jan 2026 09:00:00 GMT"}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self):
            files[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(200)

        def do_GET(self):
            self.answer(200, files[self.path]) if self.path in files else self.answer(404)

        def do_POST(self):
            """Deletes the objects of a list."""
            keys = re.findall("<Key>([^<]*)</Key>", self.rfile.read(int(self.headers["Content-Length"])).decode())
            for key in keys:
                files.pop("/scans/" + key, None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self.answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

        def do_CONNECT(self):
            asked.append(self.path)
            self.close_connection = True
            self.answer(403)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"

old_files, new_files, asked = {}, {}, []
old_url, new_url, proxy = serve(old_files, []), serve(new_files, []), serve({}, asked)
for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ.update(HTTPS_PROXY=proxy, NO_PROXY="127.0.0.1")

from dagster_obstore.s3 import S3ObjectStore

def store(url):
    resource = S3ObjectStore(access_key_id="clinic", secret_access_key="clinic", region="ap-southeast-2", endpoint=url, allow_http=True)
    return resource.create_store("scans", retry_config={"max_retries": 0})

print("dagster-obstore", version("dagster-obstore"), "- obstore", version("obstore"))
try:
    store(old_url).put("knee.dcm", b"picture")
    error = None
except Exception as problem:
    error = type(problem).__name__
print(f"endpoint {old_url.rpartition(':')[0]}: {error}, asked for {asked}, files on that server: {len(old_files)}")

os.environ.update(AWS_ENDPOINT_URL=old_url, AWS_ALLOW_HTTP="true")
old, new = store(old_url), store(new_url)
old.put("knee.dcm", b"picture")
new.put("knee.dcm", bytes(old.get("knee.dcm").bytes()))
same = bytes(new.get("knee.dcm").bytes()) == b"picture"
print(f"with AWS_ENDPOINT_URL, copied to the new server and compared: {same}; old {list(old_files)}, new {list(new_files)}")
old.delete("knee.dcm")
print(f"and deleted on the old server: old {list(old_files)}, new {list(new_files)}")
right = error == "GenericError" and set(asked) == {"s3.us-east-1.amazonaws.com:443"} and same and not old_files and not new_files
sys.exit(not right)
END
