#!/bin/sh
# Orthanc merges a study into another patient's: the ID Ł-1 does not exist in Latin 1, so that the images become those of -1.
#
# /studies/.../merge gives files the patient and the study of the target. Orthanc (1.12.7) writes these values in the character
# set that each file has, and leaves out the letters that the set does not know; it neither changes the set nor refuses. So the
# Patient ID is another one. The job says Success and names the target, to which nothing was added: there are two studies with
# one UID, one of them filed under a stranger, and the source is deleted, which is the default. /studies/.../modify shortens
# the ID that it is told to set in the same way.
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
import json, sys, time, urllib.request
from io import BytesIO
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return json.loads(answer.read())

def store(patient_id, name, character_set):
    file = Dataset()
    file.SpecificCharacterSet = character_set
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.PatientName = patient_id, name
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return ask("/instances", out.getvalue())["ParentStudy"]

for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"])
        break
    except OSError:
        time.sleep(0.1)

def show(title):
    studies = [(study["PatientMainDicomTags"], study["MainDicomTags"]["StudyInstanceUID"]) for study in ask("/studies?expand")]
    rows = sorted((tags["PatientID"], tags["PatientName"], uid) for tags, uid in studies)
    print(title + ":", *(f"\n  {patient_id} {name}, study ...{uid[-6:]}" for patient_id, name, uid in rows))
    return [(patient_id, uid) for patient_id, _, uid in rows]

target = store("Ł-1", "Nowak^Łucja", "ISO_IR 192")
source = store("TEMP", "Nowak", "ISO_IR 100")
store("-1", "Adams^Mary", "ISO_IR 100")
uid = dict(show("before"))["Ł-1"]
job = ask(f"/studies/{target}/merge", {"Resources": [source], "KeepSource": False})
print("merge:", {key: job[key] for key in ("FailedInstancesCount", "InstancesCount")}, "- it names the target:", job["TargetStudy"] == target)
after = show("after")
images = len(ask(f"/studies/{target}/instances"))
print("images in the target:", images)
right = job["FailedInstancesCount"] == 0 and job["TargetStudy"] == target and images == 1
right &= [patient_id for patient_id, _ in after] == ["-1", "-1", "Ł-1"] and [of for _, of in after].count(uid) == 2

study = store("T-2", "Doe", "ISO_IR 100")
answer = ask(f"/studies/{study}/modify", {"Replace": {"PatientID": "Ł-2"}, "Force": True, "KeepSource": False})
set_to = ask(f"/studies/{answer['ID']}")["PatientMainDicomTags"]["PatientID"]
print("modify, which is to set the ID Ł-2: it sets", set_to)
right &= set_to == "-2"
sys.exit(not right)
END
