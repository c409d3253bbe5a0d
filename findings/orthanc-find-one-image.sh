#!/bin/sh
# Orthanc finds studies by an attribute of their images in the image that came first: of ten studies with a marked one, it finds one.
#
# /tools/find and C-FIND may ask for studies by any attribute. For one that its index does not hold, Orthanc (1.12.7) reads files,
# and of a study it reads the file that was stored first. A study is found only if this one has the value, whatever the others
# have: of ten studies, each with an image that says that text is burned into it, nine are "without" such text. RequestedTags
# gives this image's value as that of the study. By an attribute that the index holds for series (Series Description), no study
# is found at all. The answer is 200 each time; what Orthanc knows of it is in its log.
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
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return json.loads(answer.read())

def image(patient_id, study, series, number, marked):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = study, series, patient_id
    file.SeriesDescription, file.InstanceNumber = "Chest", number
    file.BurnedInAnnotation = "YES" if number == marked else "NO"
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

for patient in range(10):
    study, series = generate_uid(), generate_uid()
    for number in range(1, 11):
        ask("/instances", image(f"P-{patient}", study, series, number, marked=patient + 1))

def found(level, **query):
    return len(ask("/tools/find", {"Level": level, "Query": query}))

print("10 studies of 10 images, one of which has BurnedInAnnotation YES")
right = True
for query in ({"BurnedInAnnotation": "YES"}, {"BurnedInAnnotation": "NO"}, {"SeriesDescription": "Chest"}):
    studies, images = found("Study", **query), found("Instance", **query)
    print(query, "- studies:", studies, "- images:", images)
    right &= images == {"YES": 10, "NO": 90}.get(query.get("BurnedInAnnotation"), 100)
    right &= studies == {"YES": 1, "NO": 9}.get(query.get("BurnedInAnnotation"), 0)
asked = {"Level": "Study", "Query": {}, "Expand": True, "RequestedTags": ["BurnedInAnnotation"]}
values = [study["RequestedTags"]["BurnedInAnnotation"] for study in ask("/tools/find", asked)]
print("RequestedTags of the studies:", *values)
right &= values.count("YES") == 1
sys.exit(not right)
END
