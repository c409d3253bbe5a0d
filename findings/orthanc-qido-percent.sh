#!/bin/sh
# QIDO-RS of Orthanc does not decode what it is asked: for Smith^Hans, Smith* or "Chest CT" dicomweb-client finds no study.
#
# In the query of an address a space or ü must be percent-encoded (RFC 3986), and HTTP libraries encode * and ^ too: Smith%5EHans.
# Orthanc (1.12.7, DICOMweb 1.20) compares with that text as it came; only of %2C it makes a comma, at which it splits. The answer is
# 200 with an empty list, as for a patient who is not there: an import that asks before it sends, sends twice; one that asks
# afterwards reports images as lost. UIDs, dates and names without such characters are found, so that a test may well pass. With ^
# and * as they are the query is answered, but a space or ü cannot be sent as it is. /tools/find, which takes JSON, finds them all.
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

packages="$folder/orthanc/root"
"$here/scripts/unpack-orthanc" trixie "$folder/orthanc" 1.12.7+dfsg-4 >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
(cd "$here" && .venv/bin/python -m fm_pipeline.sandbox.programs.debian --suite trixie "$packages" \
    orthanc-dicomweb=1.20+dfsg-1) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" dicomweb-client==0.61.2 pydicom==3.0.2 2>"$folder/log"

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
 "Plugins": ["$packages/usr/lib/orthanc/libOrthancDicomWeb.so.1.20"]}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

no_proxy=127.0.0.1 "$folder/venv/bin/python" - "$port" <<'END'
import json, sys, time, urllib.request
from importlib.metadata import version
from io import BytesIO
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"


def ask(path, body=None):
    headers = {"Accept": "application/dicom+json"} if path.startswith("/dicom-web") else {}
    with urllib.request.urlopen(urllib.request.Request(at + path, body, headers), timeout=60) as answer:
        return json.loads(answer.read() or "[]")


def instance(patient_id, name, description):
    file = Dataset()
    file.SpecificCharacterSet = "ISO_IR 192"
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.StudyDate = generate_uid(), generate_uid(), "20260105"
    file.PatientID, file.PatientName, file.StudyDescription = patient_id, name, description
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()


for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"], "- DICOMweb", ask("/plugins/dicom-web")["Version"], end=" - ")
        break
    except OSError:
        time.sleep(0.1)
print("dicomweb-client", version("dicomweb-client"))
for patient in [("P1", "Smith^Hans", "Chest CT"), ("P 2", "Müller^Eva", "Knee"), ("P3", "Adams", "Head")]:
    ask("/instances", instance(*patient))

client = DICOMwebClient(at + "/dicom-web")
right = True
for query, by_client, as_it_is, there in [
    ({"PatientName": "Smith^Hans"}, 0, 1, 1),
    ({"PatientName": "Smith*"}, 0, 1, 1),
    ({"StudyDescription": "Chest CT"}, 0, None, 1),
    ({"PatientID": "P 2"}, 0, None, 1),
    ({"PatientName": "Müller^Eva"}, 0, None, 1),
    ({"PatientName": "Adams"}, 1, 1, 1),
    ({"StudyDate": "20260101-20260131"}, 3, 3, 3),
]:
    ((attribute, value),) = query.items()
    found = len(client.search_for_studies(search_filters=query))
    raw = len(ask(f"/dicom-web/studies?{attribute}={value}")) if value.isascii() and " " not in value else None
    all_of_them = len(ask("/tools/find", json.dumps({"Level": "Study", "Query": query}).encode()))
    print(f"{attribute} {value} - dicomweb-client: {found}, not encoded: {raw}, /tools/find: {all_of_them}")
    right &= (found, raw, all_of_them) == (by_client, as_it_is, there)
sys.exit(not right)
END
