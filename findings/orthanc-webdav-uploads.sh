#!/bin/sh
# Orthanc's WebDAV folder takes each file with "201 Created", and deletes those that it cannot store.
#
# Orthanc (1.12.7) offers a network drive with a folder "uploads" for new images. A thread takes one file after the other from it,
# stores it, and deletes it from the folder, also if it could not be stored: because the storage is full, or a filter does not let
# it in. Who moves files there with a file manager has lost them then; what is left is a line in the server's log, "maybe not a
# DICOM file". Of a ZIP the log names neither the file nor the members that are missing. POST /instances answers 507 for the
# same file, so that the sender knows.
#
# Needs Debian on amd64 with apt, python3 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
orthanc=
trap '[ -z "$orthanc" ] || kill "$orthanc" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1

"$here/scripts/unpack-orthanc" trixie "$folder/orthanc" 1.12.7+dfsg-4 >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 2>"$folder/log"

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": [], "MaximumStorageSize": 1, "MaximumStorageMode": "Reject"}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$port" "$folder/orthanc.log" <<'END'
import json, sys, time, urllib.error, urllib.request
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None, method=None):
    with opener.open(urllib.request.Request(at + path, body, {"Depth": "1"}, method=method), timeout=60) as answer:
        return answer.status, answer.read()

def document(patient_id):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = generate_uid(), generate_uid(), patient_id
    file.EncapsulatedDocument = bytes(400_000)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()

for _ in range(300):
    try:
        print("Orthanc", json.loads(ask("/system")[1])["Version"], "- room for 1 MB, files of 0.4 MB")
        break
    except OSError:
        time.sleep(0.1)

def in_uploads():
    return ask("/webdav/uploads/", method="PROPFIND")[1].count(b"/webdav/uploads/") - 1  # without the folder itself

def put(name, content):
    status, _ = ask("/webdav/uploads/" + name, content, "PUT")
    for _ in range(300):
        if not in_uploads():
            break
        time.sleep(0.1)
    stored = json.loads(ask("/statistics")[1])["CountInstances"]
    print(f"PUT {name}: {status}; in the folder afterwards: {in_uploads()}, stored in all: {stored}")
    return status, in_uploads(), stored

right = put("1.dcm", document("P-1")) == (201, 0, 1)
right &= put("2.dcm", document("P-2")) == (201, 0, 2)
third = document("P-3")
right &= put("3.dcm", third) == (201, 0, 2)
both = BytesIO()
with ZipFile(both, "w") as archive:
    archive.writestr("4.dcm", document("P-4"))
    archive.writestr("5.dcm", document("P-5"))
right &= put("45.zip", both.getvalue()) == (201, 0, 2)
try:
    ask("/instances", third)
except urllib.error.HTTPError as error:
    print("POST /instances of the third file:", error.code, json.load(error)["Message"])
    right &= error.code == 507
else:
    right = False
for line in Path(sys.argv[2]).read_text().splitlines():
    if "WebWAV" in line:
        print("log:", line[line.index("Cannot"):])
sys.exit(not right)
END
