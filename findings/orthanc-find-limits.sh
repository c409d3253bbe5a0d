#!/bin/sh
# Orthanc's LimitFindResults, which is to limit C-FIND, leaves C-FIND alone: what gets three studies of seven is /tools/find, without a word.
#
# The option is "the maximum number of results for a single C-FIND request", as the comment in orthanc.json says; LimitFindInstances is the
# one for images. A hospital sets them against queries for everything. Debian 12's Orthanc (1.10.1) keeps to that, and ends such an answer
# with the status Cancel. Debian 13's (1.12.7) answers in full. What it cuts is the REST route /tools/find, with which scripts list
# what they are to send, anonymize or delete: that many results and no more, with 200 and no sign that there are others, also for a
# script that asks for more by Limit. /tools/count-resources and GET /studies say seven. Only a request with Since and without
# Limit is not cut.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 pynetdicom==3.0.4 2>"$folder/log"

ports=$("$folder/venv/bin/python" -c 'import socket
with socket.socket() as one, socket.socket() as other:
    one.bind(("127.0.0.1", 0)); other.bind(("127.0.0.1", 0))
    print(one.getsockname()[1], other.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": ${ports% *}, "DicomPort": ${ports#* },
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": [], "DicomAlwaysAllowFind": true,
 "LimitFindResults": 3, "LimitFindInstances": 3}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - $ports <<'END'
import json, sys, time, urllib.request
from io import BytesIO
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return json.loads(answer.read())

for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"], "- LimitFindResults and LimitFindInstances: 3 - seven studies of one image each")
        break
    except OSError:
        time.sleep(0.1)
for number in range(1, 8):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = generate_uid(), generate_uid(), f"P-{number}"
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    assert ask("/instances", out.getvalue())["Status"] == "Success"

client = AE()
client.add_requested_context(Find)
association = client.associate("127.0.0.1", int(sys.argv[2]))
assert association.is_established

def c_find(level):
    query = Dataset()
    query.QueryRetrieveLevel = level
    query.PatientID = query.StudyInstanceUID = query.SeriesInstanceUID = query.SOPInstanceUID = ""
    answers = list(association.send_c_find(query, Find))
    print(f"C-FIND, {level} - answers: {len(answers) - 1} - last status: {answers[-1][0].Status:#06x}")
    return len(answers) - 1

def find(level, **more):
    found = len(ask("/tools/find", json.dumps({"Level": level, "Query": {}, **more}).encode()))
    print("/tools/find,", level, *(f"{key}: {value}" for key, value in more.items()), "- results:", found)
    return found

right = [c_find(level) for level in ("STUDY", "SERIES", "IMAGE")] == [7, 7, 7]
right &= [find(level) for level in ("Study", "Series", "Instance")] == [3, 3, 3]
right &= find("Study", Limit=100) == 3 and find("Study", Since=1) == 6
counted = ask("/tools/count-resources", b'{"Level": "Study", "Query": {}}')["Count"]
print("/tools/count-resources:", counted, "- GET /studies:", len(ask("/studies")))
association.release()
sys.exit(not (right and counted == len(ask("/studies")) == 7))
END
