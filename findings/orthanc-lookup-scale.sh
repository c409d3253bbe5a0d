#!/bin/sh
# Orthanc 1.12.7 with its default index reads all instances of its store for each instance that it is asked about.
#
# A look-up by the identifier (GET /instances/ID, /tools/bulk-content, the attachments' size and MD5, DELETE) is expected to
# take the same time in a small store and in a large one, as in 1.10.1. In 1.12.7 with SQLite its time grows with the number of
# instances: 0.1 ms for each thousand, so 58 ms in a store of 300,000. A client that checks a directory of files one by one
# then needs a time that grows with the square of their number, and one that asks about 2,000 at once gets a timeout.
# /tools/find with many SOPInstanceUIDs (joined by backslashes) does not grow.
#
# Needs Debian on amd64 with apt, python3 and its venv. Both Orthancs are Debian's, unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
orthanc=
trap '[ -z "$orthanc" ] || kill "$orthanc" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1

for release in bookworm:1.10.1+dfsg-2+deb12u1 trixie:1.12.7+dfsg-4; do
    "$here/scripts/unpack-orthanc" "${release%%:*}" "$folder/${release%%:*}" "${release#*:}" >"$folder/log" 2>&1 ||
        { tail -n 5 "$folder/log"; exit 1; }
done
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2

for suite in bookworm trixie; do
    port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$folder/$suite.json" <<END
{"StorageDirectory": "$folder/store-$suite", "IndexDirectory": "$folder/store-$suite", "HttpPort": $port, "Plugins": [],
 "DicomServerEnabled": false, "RemoteAccessAllowed": false, "AuthenticationEnabled": false}
END
    "$folder/$suite/Orthanc" "$folder/$suite.json" >"$folder/$suite.log" 2>&1 &
    orthanc=$!
    "$folder/venv/bin/python" - "$port" "$folder/$suite.ratio" <<'END'
import io, json, random, sys, time, urllib.request, zipfile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None, kind="application/json"):
    with opener.open(urllib.request.Request(at + path, body, {"Content-Type": kind}), timeout=60) as answer:
        return json.load(answer)

def instance(number):
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, f"2.25.1{number:07}"
    made.PatientID, made.StudyInstanceUID = f"P{number // 1000}", f"2.25.2{number // 1000:07}"
    made.SeriesInstanceUID, made.Modality = f"2.25.3{number // 100:07}", "OT"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    written = io.BytesIO()
    made.save_as(written, enforce_file_format=True)
    return written.getvalue()

for _ in range(100):
    try:
        version = ask("/system")["Version"]
        break
    except OSError:
        time.sleep(0.1)
ids, medians = [], {}
for until in (1000, 16000):
    while len(ids) < until:
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            for number in range(len(ids), len(ids) + 500):
                archive.writestr(str(number), instance(number))
        ids += [row["ID"] for row in ask("/instances", body.getvalue(), "application/zip")]
    asked = random.Random(1).sample(ids, 200)
    begun = time.perf_counter()
    held = ask("/tools/bulk-content", json.dumps({"Resources": asked, "Metadata": False}).encode())
    medians[until] = (time.perf_counter() - begun) / len(asked) * 1000
    assert len(held) == len(asked)
    print(f"Orthanc {version}, {until:6} instances: {medians[until]:.2f} ms for each instance that it is asked about", flush=True)
ratio = medians[16000] / medians[1000]
open(sys.argv[2], "w").write(f"{ratio:.2f}")
END
    kill "$orthanc"
    wait "$orthanc" || true
    orthanc=
done
"$folder/venv/bin/python" - "$(cat "$folder/bookworm.ratio")" "$(cat "$folder/trixie.ratio")" <<'END'
import sys
old, new = map(float, sys.argv[1:])
print(f"sixteen times the instances: {old} times the time in 1.10.1, {new} times in 1.12.7")
if old < 3 < new:
    print("As described.")
    sys.exit()
print("It behaves otherwise now.")
sys.exit(1)
END
