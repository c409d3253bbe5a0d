#!/bin/sh
# Orthanc's anonymization leaves drawings over the image, their comments and curves, and the patient's name in a sequence.
#
# POST /instances/.../anonymize (1.12.7) writes into the file that it is de-identified by the "Basic Profile" of PS3.15, table E.1-1
# (2023b; with DicomVersion 2021b too). That table removes Overlay Data, Overlay Comments and Curve Data, whose tags it gives as
# 60xx and 50xx, one group for each of up to 16 layers. Orthanc keeps them all; in an overlay older devices draw the patient's
# name. Within sequences Orthanc replaces the patient's ID and empties the day of birth and the sex, but the patient's name, which
# it replaces at the top of the file, stays there as it was. Whoever relies on "PatientIdentityRemoved: YES" passes names on.
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
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return answer.read()

for _ in range(300):
    try:
        print("Orthanc", json.loads(ask("/system"))["Version"])
        break
    except OSError:
        time.sleep(0.1)

def patient(inside):
    inside.PatientName, inside.PatientID, inside.PatientBirthDate, inside.PatientSex = "Adams^Mary", "P-1", "19700102", "F"
    return inside

file = patient(Dataset())
file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
file.StudyInstanceUID, file.SeriesInstanceUID, file.Modality = generate_uid(), generate_uid(), "CT"
file.Rows = file.Columns = 4
file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
file.PixelRepresentation, file.SamplesPerPixel, file.PhotometricInterpretation = 0, 1, "MONOCHROME2"
file.PixelData = bytes(32)
file.ReferencedImageSequence = [patient(Dataset())]
file.ReferencedImageSequence[0].ReferencedSOPClassUID = CTImageStorage
file.ReferencedImageSequence[0].ReferencedSOPInstanceUID = generate_uid()
LAYERS = {
    "Overlay Data": (0x60003000, "OW", bytes(range(8))),
    "Overlay Comments": (0x60004000, "LT", "Adams, Mary, bed 7"),
    "Overlay Data of the second layer": (0x60023000, "OW", bytes(range(8, 16))),
    "Curve Data": (0x50003000, "OW", b"1234"),
}
for group in (0x6000, 0x6002):
    for element, vr, value in ((0x10, "US", 8), (0x11, "US", 8), (0x40, "CS", "G"), (0x50, "SS", [1, 1]), (0x100, "US", 1)):
        file.add_new((group, element), vr, value)
    file.add_new((group, 0x102), "US", 0)
for tag, vr, value in LAYERS.values():
    file.add_new(tag, vr, value)
file.file_meta = FileMetaDataset()
file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
out = BytesIO()
file.save_as(out, enforce_file_format=True)
stored = json.loads(ask("/instances", out.getvalue()))["ID"]

right = True
for edition in ("2023b", "2021b"):
    body = json.dumps({"DicomVersion": edition}).encode()
    new = dcmread(BytesIO(ask(f"/instances/{stored}/anonymize", body)))
    print(f"{new.DeidentificationMethod}, PatientIdentityRemoved: {new.PatientIdentityRemoved}")
    for name, (tag, _, value) in LAYERS.items():
        kept = tag in new and new[tag].value == value
        print(f"  {name}: {'kept' if kept else 'changed'}")
        right &= kept
    for place, inside in (("the file", new), ("a sequence", new.ReferencedImageSequence[0])):
        print(f"  in {place}: {inside.PatientName}, {inside.PatientID}, born {inside.PatientBirthDate!r}")
        right &= (str(inside.PatientName) == "Adams^Mary") == (place == "a sequence")
        right &= inside.PatientID != "P-1" and not inside.PatientBirthDate and not inside.PatientSex
    right &= new.PatientIdentityRemoved == "YES" and f"PS 3.15-{edition} Table E.1-1 Basic Profile" in new.DeidentificationMethod
sys.exit(not right)
END
