#!/bin/sh
# QIDO-RS of Orthanc takes a comma in text for "or": asked for the study "Chest, lateral", it gives another patient's "Chest".
#
# A comma separates the UIDs of a list (PS3.18, 8.3.4); in a description, an ID or a name it is a letter as any other. Orthanc's
# DICOMweb plugin (1.20 in Orthanc 1.12.7) splits the value of every attribute at its commas. What is found are the studies
# that have one of the parts; the study that has the whole value is never among them, with or without a wildcard. Of the patient
# with the ID "A,B" there is nothing, but A and B come. /tools/find of the same Orthanc finds the one that was asked for.
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

packages="$folder/orthanc/root"
"$here/scripts/unpack-orthanc" trixie "$folder/orthanc" 1.12.7+dfsg-4 >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
(cd "$here" && .venv/bin/python -m fm_pipeline.sandbox.programs.debian --suite trixie "$packages" \
    orthanc-dicomweb=1.20+dfsg-1) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 2>"$folder/log"

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
 "Plugins": ["$packages/usr/lib/orthanc/libOrthancDicomWeb.so.1.20"]}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$port" <<'END'
import json, sys, time, urllib.request
from io import BytesIO
from urllib.parse import urlencode
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    headers = {"Accept": "application/dicom+json"} if path.startswith("/dicom-web") else {}
    with opener.open(urllib.request.Request(at + path, body, headers), timeout=60) as answer:
        return json.loads(answer.read() or "[]")

def instance(patient_id, description):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.StudyDescription = patient_id, description
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()

for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"], "- DICOMweb", ask("/plugins/dicom-web")["Version"])
        break
    except OSError:
        time.sleep(0.1)

STUDIES = {"P-1": "Chest, lateral", "P-2": "Chest", "P-3": "Skull, lateral", "A,B": "Hand", "A": "Foot", "B": "Knee"}
for patient_id, description in STUDIES.items():
    ask("/instances", instance(patient_id, description))

def by_qido(**query):
    return sorted(row["00100020"]["Value"][0] for row in ask("/dicom-web/studies?" + urlencode(query)))

def by_find(**query):
    body = {"Level": "Study", "Query": query, "Expand": True}
    return sorted(row["PatientMainDicomTags"]["PatientID"] for row in ask("/tools/find", json.dumps(body).encode()))

right = True
for query, qido, find in (
    ({"StudyDescription": "Chest, lateral"}, ["P-2"], ["P-1"]),
    ({"StudyDescription": "Skull, lateral"}, [], ["P-3"]),
    ({"StudyDescription": "Chest, lat*"}, ["P-2"], ["P-1"]),
    ({"PatientID": "A,B"}, ["A", "B"], ["A,B"]),
):
    print(query, "- QIDO-RS:", by_qido(**query), "- /tools/find:", by_find(**query))
    right &= by_qido(**query) == qido and by_find(**query) == find
sys.exit(not right)
END
