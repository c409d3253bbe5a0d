#!/bin/sh
# pyorthanc does not find a patient that Orthanc holds, where 1,000 others have names without a Latin letter.
#
# Orthanc (1.12.7) searches an index of capitals in ASCII, applies Limit to what that gives, and only then compares with the
# real name. All names in Kanji are the same empty text in the index, so that a page of 1,000 may hold none that matches.
# pyorthanc asks page by page (1,000 rows, unless told otherwise) and stops at the first empty one: find_patients() returns
# an empty list, without an error. One request without Limit finds the patient, and so does pyorthanc with a larger limit.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 pyorthanc==1.23.0

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": []}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$port" <<'END'
import sys, time
from importlib.metadata import version
from io import BytesIO
import httpx
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid
from pyorthanc import Orthanc, find_patients

PATIENTS = 1_010
client = Orthanc(f"http://127.0.0.1:{sys.argv[1]}", trust_env=False)
for _ in range(300):
    try:
        print("Orthanc", client.get_system()["Version"], "and pyorthanc", version("pyorthanc"))
        break
    except httpx.HTTPError:
        time.sleep(0.1)

def name(number):
    return f"\u5c71{chr(0x4E00 + number)}^\u592a"

for number in range(PATIENTS):
    file = Dataset()
    file.SpecificCharacterSet = "ISO_IR 192"
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.PatientName = f"P{number}", name(number)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    client.post_instances(out.getvalue())

# The order of the index is that of Orthanc's ids: these are the last ones, and one from the middle.
ids = sorted((row["ID"], row["MainDicomTags"]["PatientID"]) for row in client.get_patients({"expand": ""}))
searched = [int(patient[1:]) for _, patient in (*ids[-3:], ids[500])]
whole = [len(client.post_tools_find({"Level": "Patient", "Query": {"PatientName": name(number)}})) for number in searched]
by_default = [len(find_patients(client, {"PatientName": name(number)})) for number in searched]
larger = [len(find_patients(client, {"PatientName": name(number)}, limit=2_000)) for number in searched]
print("patients held:", len(ids), "- found of four by /tools/find:", sum(whole))
print("by pyorthanc:", sum(by_default), "- by pyorthanc with pages of 2,000:", sum(larger))
sys.exit((whole, by_default, larger) != ([1] * 4, [0, 0, 0, 1], [1] * 4))
END
