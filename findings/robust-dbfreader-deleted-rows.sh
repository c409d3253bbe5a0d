#!/bin/sh
# robust-dbfreader gives a deleted patient as one of the table, and leaves out the last one instead: the number of patients is right.
#
# In a dBase file a deleted row stays where it was, with an asterisk before it, until the file is packed. The reader (0.2.1) takes
# its number of records from dbfread, which does not count deleted rows, and reads the record of a number by its place in the
# file, where they do count; the asterisk is not looked at. So a loop from 1 to recordnum, as it is meant, returns deleted rows, and
# misses as many at the end. Asking for the next number is an error, so the missing rows cannot be read at all. There is no warning.
# (Values of the types logical, memo and float are None in each row, as its documentation says.)
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check robust-dbfreader==0.2.1 dbfread==2.0.7 rich==14.2.0 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import struct, sys
from importlib.metadata import version
from pathlib import Path
from dbfread import DBF
from robust_dbfreader.dbf_reader import DbfRawFileReader

FIELDS = [("PATIENT", "C", 6, 0), ("ALLERGY", "L", 1, 0), ("DOSE", "F", 6, 2)]
ROWS = [(" ", "Adams", "T", "2.50"), ("*", "Brown", "T", "3.50"), (" ", "Clark", "F", "4.50"), (" ", "Davis", "T", "5.50")]
path = Path(sys.argv[1], "PATIENTS.DBF")
fields = b"".join(struct.pack("<11sc4xBB14x", name.encode(), kind.encode(), length, decimals) for name, kind, length, decimals in FIELDS)
size = 1 + sum(length for _, _, length, _ in FIELDS)
header = struct.pack("<4BIHH20x", 3, 126, 1, 5, len(ROWS), 32 + len(fields) + 1, size)
content = "".join(mark + name.ljust(6) + allergy + dose.rjust(6) for mark, name, allergy, dose in ROWS)
path.write_bytes(header + fields + b"\r" + content.encode() + b"\x1a")

table = DBF(path)
there, deleted = [row["PATIENT"] for row in table], [row["PATIENT"] for row in table.deleted]
print("robust-dbfreader", version("robust-dbfreader"), "- dbfread:", there, "- deleted:", deleted)
with DbfRawFileReader(path) as reader:
    rows = [reader.read_record(number) for number in range(1, reader.recordnum + 1)]
    try:
        beyond = reader.read_record(reader.recordnum + 1)
    except IndexError as error:
        beyond = str(error)
read = [row["PATIENT"] for row in rows]
print(f"recordnum: {len(rows)}, records: {read}, the next one: {beyond}, allergies and doses: {[(r['ALLERGY'], r['DOSE']) for r in rows]}")
right = there == ["Adams", "Clark", "Davis"] and deleted == ["Brown"] and read == ["Adams", "Brown", "Clark"]
sys.exit(not (right and beyond == "record index out of range" and all(row["ALLERGY"] is row["DOSE"] is None for row in rows)))
END
