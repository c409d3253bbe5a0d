#!/bin/sh
# Orthanc answers 200 and [] to a valid DICOM file, and stores nothing, if its free preamble begins as an empty ZIP does.
#
# The 128 bytes before DICM are free for the writer (PS3.10, 7.1), so that one file can be DICOM and something else as well.
# POST /instances (1.12.7) looks at the first four bytes: with those of an empty ZIP (PK, 5, 6) it takes the file for an archive
# of no members, and the answer is success. With those of a ZIP that has members (PK, 3, 4) it refuses the same file with 400,
# "Cannot open ZIP archive", which says nothing of DICOM. Both are stored if they are sent inside a ZIP, and Orthanc gives them
# back byte by byte: its own files cannot be sent to it again. upload() of orthanc-api-client returns [] and raises nothing.
#
# Needs Debian on amd64 with apt, python3 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: they behave otherwise now.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 orthanc-api-client==0.25.3

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": []}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 "$folder/venv/bin/python" - "$port" <<'END'
import json, sys, time, urllib.error, urllib.request, zipfile
from io import BytesIO
from orthanc_api_client import OrthancApiClient
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"

def ask(path, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(at + path, body), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()

def instance(start):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID = "SAMPLE"
    file.preamble = start.ljust(128, b"\0")
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()

def held():
    return json.loads(ask("/statistics")[1])["CountInstances"]

for _ in range(300):
    try:
        print("Orthanc", json.loads(ask("/system")[1])["Version"])
        break
    except OSError:
        time.sleep(0.1)

right = True
for name, start, expected in (
    ("zeros", b"", (200, 1)),
    ("TIFF", b"II*\0", (200, 1)),
    ("a ZIP with members", b"PK\3\4", (400, 0)),
    ("an empty ZIP", b"PK\5\6", (200, 0)),
):
    file, before = instance(start), held()
    assert dcmread(BytesIO(file)).PatientID == "SAMPLE"  # a valid file, which others read
    status, body = ask("/instances", file)
    stored, said = held() - before, json.loads(body)
    shown = said.get("Status") or said.get("Details") if said else said
    print(f"the preamble begins as {name}:", status, shown, "- stored:", stored)
    right &= (status, stored) == expected and bool(said) == (start != b"PK\5\6")
    if not stored:
        archive = BytesIO()
        with zipfile.ZipFile(archive, "w") as members:
            members.writestr("image.dcm", file)
        [row] = json.loads(ask("/instances", archive.getvalue())[1])
        back = ask(f"/instances/{row['ID']}/file")[1]
        again = ask("/instances", back)
        print("   inside a ZIP:", row["Status"], "- given back as it was:", back == file, "- sent again:", again[0])
        right &= (row["Status"], back == file, again[0]) == ("Success", True, status)

before = held()
uploaded = OrthancApiClient(at).upload(instance(b"PK\5\6"))
print("orthanc-api-client's upload():", uploaded, "- stored:", held() - before)
right &= (uploaded, held() - before) == ([], 0)
sys.exit(not right)
END
