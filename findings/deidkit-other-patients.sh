#!/bin/sh
# deidkit gives Adams' visits to Baker if one visit of the table has no patient: number 1234 is written 1234.0, and read as 12340.
#
# The program (0.1.6) replaces names and numbers in the tables of a hospital, so that they can be given away. It promises that a number
# has one replacement in all tables, and that two numbers never share one. Of a number with four digits or more it keeps the digits
# alone. pandas, with which it reads databases, turns a column of whole numbers into one with decimals if a value is missing: 1234 is
# then 1234.0, its digits are 12340, and where there is a patient 12340, the visit is now that patient's. Where there is none, no
# visit belongs to a patient. For the same reason A-1234 and B-1234, patients of two hospitals, become one. Dates move by a number of
# days for each patient, so that the time between them stays; 1234.0 has another number of days than 1234, and a baby's first visit
# can be before its birth. Nothing is reported; the audit of changes lists 1234.0 as one more number.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
pip="$folder/venv/bin/pip install -q --disable-pip-version-check"
$pip pandas==3.1.1 openpyxl==3.1.5 PyYAML==6.0.3 SQLAlchemy==2.1.9 2>"$folder/log"
$pip --no-deps deidkit==0.1.6 2>>"$folder/log"
cd "$folder"

venv/bin/python -W ignore - <<'END'
import sqlite3, sys
from importlib.metadata import version
import deidkit, pandas

with sqlite3.connect("old.db") as old:
    old.executescript("""
        CREATE TABLE patient (mrn INTEGER PRIMARY KEY, last_name TEXT, birth_date DATE);
        CREATE TABLE visit (id INTEGER PRIMARY KEY, mrn INTEGER REFERENCES patient, visit_date DATE, mg INTEGER);
        INSERT INTO patient VALUES (1234, 'Adams', '2026-01-05'), (12340, 'Baker', '1950-03-01');
        INSERT INTO visit VALUES (1, 1234, '2026-01-09', 5), (2, 1234, '2026-01-19', 6), (3, 12340, '2026-01-12', 50);
    """)

def replaced(sql, new):
    """Return the patient's old name and the days since birth for each visit, after the database was replaced."""
    with sqlite3.connect("old.db") as old:
        old.execute(sql)
    deidkit.deidentify_database("sqlite:///old.db", f"sqlite:///{new}", secret="a secret for this example only", entity_key="mrn")
    with sqlite3.connect(new) as connection:
        name = dict(zip([row[0] for row in connection.execute("SELECT mrn FROM patient ORDER BY rowid")], ("Adams", "Baker")))
        births = connection.execute("SELECT mrn, birth_date FROM patient ORDER BY rowid").fetchall()
        visits = connection.execute("SELECT mrn, visit_date, mg FROM visit ORDER BY id").fetchall()
    adams = pandas.Timestamp(births[0][1])
    return [(name.get(str(mrn)), mg, (pandas.Timestamp(day) - adams).days) for mrn, day, mg in visits]

print("deidkit", version("deidkit"), "with pandas", version("pandas"))
all_have = replaced("UPDATE visit SET mg = mg", "all.db")
print("each visit has a patient (patient, mg, days after Adams' birth):", *all_have)
one_lacks = replaced("INSERT INTO visit VALUES (4, NULL, '2026-01-20', 7)", "one.db")
print("a fourth visit has none:                                      ", *one_lacks)
table = pandas.DataFrame({"mrn": ["A-1234", "B-1234", "A-5678"], "mg": [5, 50, 7]})
numbers = deidkit.deidentify(table, secret="a secret for this example only").table.mrn.tolist()
print("A-1234, B-1234 and A-5678 become", *numbers)
sys.exit(not (
    [(name, mg) for name, mg, _ in all_have] == [("Adams", 5), ("Adams", 6), ("Baker", 50)]
    and [days for _, _, days in all_have[:2]] == [4, 14]
    and [(name, mg) for name, mg, _ in one_lacks] == [("Baker", 5), ("Baker", 6), (None, 50), (None, 7)]
    and [days for _, _, days in one_lacks[:2]] != [4, 14]
    and numbers[0] == numbers[1] != numbers[2]
))
END
