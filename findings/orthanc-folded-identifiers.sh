#!/bin/sh
# Orthanc looks identifiers up without accents, case and foreign letters: it finds, and counts, patients that are others.
#
# The index keeps each searchable tag in capitals and in ASCII. Letters without an ASCII form are left out, so that every ID
# in Kanji is the same empty text. /tools/lookup and /tools/count-resources (Orthanc 1.12.7) answer from this index alone: of
# a Patient ID that nobody has they return, or count, the patients whose folded ID is equal. /tools/find compares again with
# the file's text, but only behind Limit: the first page may be empty although patients match on later ones. A client that
# asks "is there one?" with a Limit of 1, or reads until a page is empty, is wrong without an error.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2

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
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return json.load(answer)

def instance(patient_id):
    file = Dataset()
    file.SpecificCharacterSet = "ISO_IR 192"
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID = patient_id
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

names = {}
for patient_id in ("P-\u00e91", "p-1", "P-1", "\u5c71\u7530", "\u4f50\u85e4"):
    names[ask("/instances", instance(patient_id))["ParentPatient"]] = patient_id
print("patients held:", *names.values())

def looked_up(patient_id):
    return {names[row["ID"]] for row in ask("/tools/lookup", patient_id.encode())}

def found(patient_id, **more):
    query = {"Level": "Patient", "Query": {"PatientID": patient_id}, **more}
    return [names[row] for row in ask("/tools/find", json.dumps(query).encode())]

def counted(patient_id):
    return ask("/tools/count-resources", json.dumps({"Level": "Patient", "Query": {"PatientID": patient_id}}).encode())["Count"]

right = True
for patient_id, alike in (
    ("\u9234\u6728", {"\u5c71\u7530", "\u4f50\u85e4"}),
    ("P-\u00fc1", {"P-\u00e91", "p-1", "P-1"}),
    ("P-1", {"P-\u00e91", "p-1", "P-1"}),
):
    print(patient_id, "lookup:", *sorted(looked_up(patient_id)), "- count:", counted(patient_id), "- find:", *found(patient_id))
    right &= looked_up(patient_id) == alike and counted(patient_id) == len(alike)
    right &= set(found(patient_id)) == ({"p-1", "P-1"} if patient_id == "P-1" else set())  # case does not count by default
pages = [found("P-1", Limit=1, Since=since) for since in range(3)]
print("find P-1 by pages of one:", pages)
right &= sorted(pages) == [[], ["P-1"], ["p-1"]] and not pages[0]
sys.exit(not right)
END
