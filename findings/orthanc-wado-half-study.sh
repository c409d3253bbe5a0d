#!/bin/sh
# WADO-RS of Orthanc ends in the middle of a study at a JPEG 2000 image, with 200, and dicomweb-client takes it for the whole study.
#
# A client that names no transfer syntax gets each file as Explicit VR Little Endian (PS3.18). Orthanc's DICOMweb plugin (1.20 in
# Orthanc 1.12.7) converts one file after the other while it answers. JPEG 2000, which Debian's Orthanc stores and does not decode
# without the package orthanc-gdcm, stops it: the status has been sent by then, the connection ends, and the images behind that
# one are missing too, whatever their format. (If it comes first, the answer is 500.) The last boundary is missing, which
# dicomweb-client does not miss: of six images that QIDO-RS lists, it gives three, without an error. With transfer-syntax=* all
# six come.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicomweb-client==0.61.2 pydicom==3.0.2 2>"$folder/log"

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
 "Plugins": ["$packages/usr/lib/orthanc/libOrthancDicomWeb.so.1.20"]}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

NO_PROXY='*' "$folder/venv/bin/python" - "$port" <<'END'
import http.client, json, sys, time
from importlib.metadata import version
from hashlib import sha1
from io import BytesIO
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

port = int(sys.argv[1])

def ask(path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET" if body is None else "POST", path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()

for _ in range(300):
    try:
        print("Orthanc", json.loads(ask("/system")[1])["Version"], "- dicomweb-client", version("dicomweb-client"))
        break
    except OSError:
        time.sleep(0.1)

study, series = generate_uid(), generate_uid()
in_order = sorted((generate_uid() for _ in range(6)), key=lambda uid: sha1(f"P-1|{study}|{series}|{uid}".encode()).digest())
for number, uid in enumerate(in_order, 1):
    name = "JPEG2000.dcm" if number == 4 else "CT_small.dcm"  # files of pydicom's own tests, made one study here
    file = dcmread(get_testdata_file(name))
    file.StudyInstanceUID, file.SeriesInstanceUID, file.SOPInstanceUID = study, series, uid
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.PatientID, file.InstanceNumber = "P-1", number
    out = BytesIO()
    file.save_as(out)
    print(f"image {number}:", file.file_meta.TransferSyntaxUID.name, "-", json.loads(ask("/instances", out.getvalue())[1])["Status"])

right = True
for accept, files, whole in (("*/*", 3, False), ('multipart/related; type="application/dicom"; transfer-syntax=*', 6, True)):
    status, body = ask(f"/dicom-web/studies/{study}", Accept=accept)
    seen = body.count(b"\0DICM\2\0"), body.endswith(b"--\r\n")
    print(f"WADO-RS, Accept {accept}: {status}, files: {seen[0]}, last boundary:", "yes" if seen[1] else "no")
    right &= status == 200 and seen == (files, whole)

client = DICOMwebClient(f"http://127.0.0.1:{port}/dicom-web")
listed = len(client.search_for_instances(study))
for name, found in (("retrieve_study()", client.retrieve_study(study)), ("retrieve_series()", client.retrieve_series(study, series))):
    numbers = sorted(int(file.InstanceNumber) for file in found)
    print("dicomweb-client:", listed, "images listed,", name, "gives", len(numbers), "- their numbers:", *numbers)
    right &= listed == 6 and numbers == [1, 2, 3]
sys.exit(not right)
END
