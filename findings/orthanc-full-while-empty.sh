#!/bin/sh
# Orthanc calls its storage full although it holds nothing, when one file is larger than MaximumStorageSize.
#
# In the default mode (Recycle) Orthanc makes room by deleting its oldest patients, so "full" is not expected at all. For a
# file that is larger than the whole limit 1.12.7 answers HTTP 507, OrthancStatus 19, "The file storage is full", without
# Details; the next, smaller file is stored. A client that stops for a full storage leaves out everything behind that one
# file. The two can be told apart by MaximumStorageSize of /system only.
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
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": [], "MaximumStorageSize": 1}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$port" <<'END'
import json, sys, time, urllib.error, urllib.request
from io import BytesIO
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"

def ask(path, body=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)

def image(side):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.Modality = "SAMPLE", "OT"
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.Rows = file.Columns = side
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelData = 7, bytes(side * side)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()

for _ in range(300):
    try:
        system = ask("/system")[1]
        break
    except OSError:
        time.sleep(0.1)
print("Orthanc", system["Version"], "mode", system["MaximumStorageMode"], "limit", system["MaximumStorageSize"], "MB")
large, held = ask("/instances", image(2000)), ask("/statistics")[1]["CountInstances"]
print("a file of 4 MB into an empty store:", large[0], large[1].get("OrthancStatus"), large[1].get("Message"), large[1].get("Details"))
print("instances held:", held)
small = ask("/instances", image(100))
print("a file of 10 KB after it:", small[0], small[1].get("Status"))
sys.exit((large[0], large[1].get("OrthancStatus"), held, small[0]) != (507, 19, 0, 200))
END
