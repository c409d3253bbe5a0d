#!/bin/sh
# agate-dbf reads the dose 2,5 of a DBF file as 25, the lot 7E2 as 700 and the patient 00417 as 417, though the file says they are text.
#
# A DBF file has a type for each field, and the package (0.2.4) throws it away: what dbfread has read rightly is handed to agate without
# types, and agate guesses them from the values, as it must for CSV. It takes a comma for the sign between thousands, drops a percent
# sign, and reads an E between digits as a power of ten. If all values of a text field look like numbers in this way, the field becomes
# one: 2,5 and 1,25 are 25 and 125. A field of the remarks "none" and "0" is one of truth values: nothing and False. One value that
# is not a number leaves the whole field as it was, so that the same field is right in one file and ten times too high in the next.
# from_dbf() has no way to name the types; the numbers and dates of the file are right, and nothing is said.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check agate-dbf==0.2.4 agate==1.14.2 dbfread==2.0.7 dbf==0.99.11 \
    2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
venv/bin/python - <<'END'
import sys
from datetime import date
from importlib.metadata import version
import agate, agatedbf, dbf, dbfread

FIELDS = "PATIENT C(8); DOSE C(10); LOT C(8); SOLUTION C(6); REMARK C(8); MG N(6,2); GIVEN D"
FIRST = ("00417", "2,5", "7E2", "5%", "none", 2.5, date(2019, 5, 2))
SECOND = ("00418", "1,25", "8E3", "10%", "0", 1.25, date(2019, 5, 3))
THIRD = ("00419", "2,5 mg", "7E2", "5%", "none", 2.5, date(2019, 5, 4))


def written(name, *rows):
    table = dbf.Table(name, FIELDS)
    with table.open(dbf.READ_WRITE):
        for row in rows:
            table.append(row)
    return name


def read(name):
    """The rows, each as the values by field, as agate-dbf reads them."""
    table = agate.Table.from_dbf(name)
    return [dict(zip(table.column_names, row.values())) for row in table.rows]


print("agate-dbf", version("agate-dbf"), "with agate", version("agate"), "and dbfread", version("dbfread"))
two, three = written("two.dbf", FIRST, SECOND), written("three.dbf", FIRST, SECOND, THIRD)
for row in dbfread.DBF(two):
    print("dbfread: ", *row.values())
rows, more = read(two), read(three)
for row in rows:
    print("agate-dbf:", *row.values())
print("the doses of a file with one more row:", *(row["DOSE"] for row in more))
texts = ["PATIENT", "DOSE", "LOT", "SOLUTION", "REMARK"]
sys.exit(not (
    [[row[name] for name in texts] for row in rows] == [[417, 25, 700, 5, None], [418, 125, 8000, 10, False]]
    and [(float(row["MG"]), row["GIVEN"]) for row in rows] == [FIRST[5:], SECOND[5:]]
    and [row["DOSE"] for row in more] == ["2,5", "1,25", "2,5 mg"]
))
END
