#!/bin/sh
# On a medium that Orthanc makes, several patients have one ID: Ü-1 and Ö-1 are both -1, as the patient -1 is, and Müller is Mller.
#
# /tools/create-media (and /patients/.../media) gives a ZIP for a disc: the files as they are, and a DICOMDIR, from which the
# reader of a disc takes its list of patients. In that list Orthanc (1.12.7) leaves out each letter that is not ASCII, in names
# and in IDs, and does not put another one in its place; yet it writes into the record that its character set is Latin 1, or
# UTF-8, which have these letters. A program that puts the images of equal IDs together shows those of three patients as one's.
# The files say who it is. The folders of /tools/create-archive are named the same way.
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
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": []}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$port" <<'END'
import json, sys, time, urllib.request, zipfile
from io import BytesIO
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return answer.read()

def instance(character_set, patient_id, name):
    file = Dataset()
    file.SpecificCharacterSet = character_set
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.PatientName, file.StudyDate, file.StudyTime = patient_id, name, "20260105", "101112"
    file.Modality, file.InstanceNumber, file.SeriesNumber, file.StudyID = "DOC", 1, 1, "1"
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()

for _ in range(300):
    try:
        print("Orthanc", json.loads(ask("/system"))["Version"])
        break
    except OSError:
        time.sleep(0.1)

PATIENTS = {  # ID: character set, name, ID and name in DICOMDIR
    "\u00dc-1": ("ISO_IR 100", "M\u00fcller^J\u00f6rg", "-1", "Mller^Jrg"),
    "\u00d6-1": ("ISO_IR 100", "M\u00f6ller^J\u00fcrg", "-1", "Mller^Jrg"),
    "-1": ("ISO_IR 100", "Adams^Mary", "-1", "Adams^Mary"),
    "\u60a3\u80057": ("ISO_IR 192", "\u5c71\u7530^\u592a\u90ce", "7", "^"),
    "7": ("ISO_IR 192", "Brown^Tom", "7", "Brown^Tom"),
}
held = [json.loads(ask("/instances", instance(row[0], key, row[1])))["ParentPatient"] for key, row in PATIENTS.items()]
medium = zipfile.ZipFile(BytesIO(ask("/tools/create-media", json.dumps({"Resources": held, "Synchronous": True}).encode())))
listed, patient = {}, None
for record in dcmread(BytesIO(medium.read("DICOMDIR"))).DirectoryRecordSequence:
    if record.DirectoryRecordType == "PATIENT":
        patient = record.get("SpecificCharacterSet"), record.PatientID, str(record.PatientName)
    elif "ReferencedFileID" in record:
        file = dcmread(BytesIO(medium.read("/".join(record.ReferencedFileID))))
        listed[file.PatientID] = file.PatientName, patient
        print(f"file: {file.PatientID} {file.PatientName} - DICOMDIR: {patient[1]} {patient[2]} ({patient[0]})")
sys.exit(listed != {key: (row[1], (row[0], row[2], row[3])) for key, row in PATIENTS.items()})
END
