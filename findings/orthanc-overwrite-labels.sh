#!/bin/sh
# An Orthanc that overwrites loses the labels and attachments of a study and its patient if its only file is sent once more.
#
# With OverwriteInstances, which is what lets a corrected file in, Orthanc (1.12.7) deletes the instance and stores the new one,
# also if the two are equal byte by byte. Where it was the only instance of its series, study or patient, these are deleted
# with it and made anew, under the same ids: their labels, the metadata and files that users attached to them (a report, say)
# are gone. The answer is "Success". If the study holds one more instance, the same upload leaves all of them in place, except
# what belongs to the instance itself. So a sender that repeats a file after a lost answer loses data of studies of one file.
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
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": [], "OverwriteInstances": true,
 "UserContentType": {"report": 1024}, "UserMetadata": {"reviewed": 1030}}
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

def ask(path, body=None, method=None):
    with opener.open(urllib.request.Request(at + path, body, method=method), timeout=60) as answer:
        return json.loads(answer.read() or "null")

def instance(patient_id, study):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = study, generate_uid(), patient_id
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()

for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"])
        break
    except OSError:
        time.sleep(0.1)

def kept(patient, study):
    labels = ask(patient + "/labels") + ask(study + "/labels")
    attached = ask(study + "/attachments") + [name for name in ask(study + "/metadata") if name == "reviewed"]
    return labels + attached

right = True
for patient_id, files, left in (("P-1", 1, []), ("P-2", 2, ["private", "teaching", "report", "reviewed"])):
    uid = generate_uid()
    uploads = [instance(patient_id, uid) for _ in range(files)]
    stored = [ask("/instances", upload) for upload in uploads][0]
    patient, study = f"/patients/{stored['ParentPatient']}", f"/studies/{stored['ParentStudy']}"
    ask(patient + "/labels/private", b"", "PUT")
    ask(study + "/labels/teaching", b"", "PUT")
    ask(study + "/attachments/report", b"the report", "PUT")
    ask(study + "/metadata/reviewed", b"yes", "PUT")
    before = kept(patient, study)
    again = ask("/instances", uploads[0])
    print(patient_id, "files:", files, "- before:", *before, "- the first file once more:", again["Status"], end=" ")
    print("- after:", *(kept(patient, study) or ["nothing"]))
    right &= before == ["private", "teaching", "report", "reviewed"] and again == stored
    right &= kept(patient, study) == left
sys.exit(not right)
END
