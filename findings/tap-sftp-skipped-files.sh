#!/bin/sh
# tap-sftp never reads a file that it once could not open, although the file's permissions have been put right since.
#
# A file that the server refuses to open is skipped with a warning in the log. The tap then sets its bookmark to the time of this
# file as to that of a file it has read, and its next run asks only for later ones. Permissions that are put right do not change
# a file's time of modification. So the next run finds nothing to do, and both runs end with exit code 0: one day of visits is
# missing from the target, and no later run will bring it.
#
# Needs python3.11 and its venv. The SFTP server is a small one in this script, on 127.0.0.1.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tap-sftp==1.3.0 'setuptools<81' 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END' 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
import json, os, socket, subprocess, sys, threading
from importlib.metadata import version
from pathlib import Path
import paramiko

here = Path.cwd()
shared = here / "shared"
shared.mkdir()
for day, patient in ("2026-03-02", "P1"), ("2026-03-03", "P2"), ("2026-03-04", "P3"):
    file = shared / f"visits-{day}.csv"
    file.write_text(f"visit,patient\n{day},{patient}\n")
    at = 1_772_400_000 + 86_400 * int(day[-1])
    os.utime(file, (at, at))

class Handle(paramiko.SFTPHandle):
    def __init__(self, path):
        super().__init__()
        self.readfile = open(path, "rb")

    def stat(self):
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))

class Files(paramiko.SFTPServerInterface):
    def real(self, path):
        return str(shared / os.path.basename(path)) if path.endswith(".csv") else str(shared)

    def list_folder(self, path):
        return [paramiko.SFTPAttributes.from_stat(file.stat(), file.name) for file in shared.iterdir()]

    def stat(self, path):
        return paramiko.SFTPAttributes.from_stat(os.stat(self.real(path)))

    lstat = stat

    def open(self, path, flags, attributes):
        if not os.stat(self.real(path)).st_mode & 0o044:  # as for a user who does not own the file
            return paramiko.SFTP_PERMISSION_DENIED
        return Handle(self.real(path))

class Login(paramiko.ServerInterface):
    def check_auth_publickey(self, *_):
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, _):
        return "publickey"

    def check_channel_request(self, *_):
        return paramiko.OPEN_SUCCEEDED

def serve():
    while True:
        transport = paramiko.Transport(listener.accept()[0])
        transport.add_server_key(key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
        transport.start_server(threading.Event(), Login())
        sessions.append(transport)

sessions = []
key = paramiko.RSAKey.generate(2048)
key.write_private_key_file(str(here / "key"))
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, daemon=True).start()

table = {"table_name": "visits", "search_prefix": "/shared", "search_pattern": r"visits-.*\.csv$"}
table |= {"key_properties": ["visit"], "delimiter": ","}
(here / "config").write_text(json.dumps({
    "host": "127.0.0.1", "port": listener.getsockname()[1], "username": "clinic", "private_key_file": str(here / "key"),
    "start_date": "2026-01-01T00:00:00Z", "tables": json.dumps([table]),
}))

def tap(*arguments):
    done = subprocess.run([here / "venv/bin/tap-sftp", "--config", here / "config", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr

print("tap-sftp", version("tap-sftp"))
code, found, said = tap("--discover")
if code:
    sys.exit(said[-500:])
catalog = json.loads(found)
for stream in catalog["streams"]:
    for entry in stream["metadata"]:
        entry["metadata"]["selected"] = True
(here / "catalog").write_text(json.dumps(catalog))
(here / "state").write_text("{}")

def sync(what):
    code, written, said = tap("--catalog", here / "catalog", "--state", here / "state")
    messages = [json.loads(line) for line in written.splitlines()]
    (here / "state").write_text(json.dumps([each["value"] for each in messages if each["type"] == "STATE"][-1]))
    patients = [each["record"]["patient"] for each in messages if each["type"] == "RECORD"]
    print(f"{what}: exit code {code}, patients {patients},", sum("Skipping" in line for line in said.splitlines()), "warnings")
    return code, patients

(shared / "visits-2026-03-03.csv").chmod(0o600)
runs = [sync("while one of three files may not be read")]
(shared / "visits-2026-03-03.csv").chmod(0o644)
runs.append(sync("after its permissions were put right"))
sys.exit(runs != [(0, ["P1", "P3"]), (0, [])])
END
