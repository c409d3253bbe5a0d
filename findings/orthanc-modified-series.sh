#!/bin/sh
# Orthanc lists Mary Adams' study as John Baker's after one of its series was copied under his name, also when the copy is deleted again.
#
# /series/{id}/modify makes a copy of a series with other values, and leaves the original as it is (KeepSource). With a patient's name, day of
# birth or accession number among the values, the copy stays in the study; Orthanc 1.12.7 (Debian 13) then gives these values to the
# study and to the patient in its index, where they stay: after the copy is deleted, after a restart. All files say Adams, born 1970.
# The study and the patient are listed, and found, as Baker, born 1980; of Adams a search shows her other study, and no patient; and the
# study has an accession number that no file has. Debian 12's Orthanc (1.10.1) keeps what the first file says. /studies/{id}/modify
# refuses the same values, since the patient has another study, with 400 and an explanation. Only /studies/{id}/reconstruct reads
# the files again, and brings the name back.
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
import json, sys, time, urllib.error, urllib.request
from io import BytesIO
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None, method=None):
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    with opener.open(urllib.request.Request(at + path, body, method=method), timeout=60) as answer:
        return json.loads(answer.read() or "null")

def upload(study, number):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.AccessionNumber = study, generate_uid(), number
    file.PatientID, file.PatientName, file.PatientBirthDate, file.PatientSex = "P-1", "Adams^Mary", "19700102", "F"
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return ask("/instances", out.getvalue())

for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"])
        break
    except OSError:
        time.sleep(0.1)

uid = generate_uid()
first, second, other = upload(uid, "A-1"), upload(uid, "A-1"), upload(generate_uid(), "A-2")
study, patient = f"/studies/{first['ParentStudy']}", f"/patients/{first['ParentPatient']}"

def told(tags):
    return tags["PatientName"], tags["PatientBirthDate"]

def seen(when):
    files = {(*told(tags), tags["AccessionNumber"]) for tags in (ask(f"/instances/{one['ID']}/simplified-tags")
             for one in ask(f"{study}/instances"))}
    listed = ask(study)
    index = *told(listed["PatientMainDicomTags"]), listed["MainDicomTags"]["AccessionNumber"]
    found = [sum(one == first["ParentStudy"] for one in ask("/tools/find", {"Level": "Study", "Query": {"PatientName": name}}))
             for name in ("Adams*", "Baker*")]
    person = told(ask(patient)["MainDicomTags"])
    print(f"{when} - in its files:", *sorted(files), "- the study:", *index, "- the patient:", *person, end=" ")
    print("- found for Adams*, Baker*:", *found)
    return files, index, person, found

adams, baker = ("Adams^Mary", "19700102"), ("Baker^John", "19800304")
wanted = {"Replace": {"PatientName": baker[0], "PatientBirthDate": baker[1], "AccessionNumber": "A-9"}}
right = seen("before") == ({(*adams, "A-1")}, (*adams, "A-1"), adams, [1, 0])
try:
    ask(f"{study}/modify", wanted)
    refused = None
except urllib.error.HTTPError as error:
    refused = error.code
copy = ask(f"/series/{first['ParentSeries']}/modify", wanted)
print("the values for the whole study - answer:", refused, "- for one series - failed images:", copy["FailedInstancesCount"])
right &= refused == 400 and copy["FailedInstancesCount"] == 0
right &= seen("copied") == ({(*adams, "A-1"), (*baker, "A-9")}, (*baker, "A-9"), baker, [0, 1])
ask(f"/series/{copy['ID']}", method="DELETE")
right &= seen("the copy deleted") == ({(*adams, "A-1")}, (*baker, "A-9"), baker, [0, 1])
ask(f"{study}/reconstruct", b"")
right &= seen("reconstructed") == ({(*adams, "A-1")}, (*adams, "A-1"), adams, [1, 0])
sys.exit(not right)
END
