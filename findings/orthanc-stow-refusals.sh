#!/bin/sh
# dicomweb-client shows none of the images that Orthanc refuses: of four that were sent, two are stored, and there is no failure.
#
# STOW-RS (PS3.18, 10.5.3) answers with two lists: what was stored, and Failed SOP Sequence. If some images are refused, the status is
# 202. With 202, Orthanc's DICOMweb plugin (1.20 in Orthanc 1.12.7) sends the header Content-Type twice, application/dicom+json and
# text/plain; with 200 once. dicomweb-client (0.61.2) knows the first one alone, and makes an empty data set of the answer: store_instances(),
# whose result is documented as "information about status of stored instances", names neither the failed images nor the stored ones, and
# raises nothing. So a program that looks for failures, as the standard has it, finds none. healthcarecli (0.1.0) looks at nothing: it
# prints "4/4 files stored" and ends with 0. Here Orthanc refuses because its storage is full, for which an operator would have to know.
#
# Needs Debian on amd64 with apt, python3.11 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: they behave otherwise now.
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
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" healthcarecli==0.1.0 dicomweb-client==0.61.2 pydicom==3.0.2 2>"$folder/log"

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "MaximumStorageSize": 1, "MaximumStorageMode": "Reject",
 "Plugins": ["$packages/usr/lib/orthanc/libOrthancDicomWeb.so.1.20"]}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

cd "$folder"
NO_PROXY='*' HOME="$folder" XDG_CONFIG_HOME="$folder" "$folder/venv/bin/python" - "$port" <<'END'
import http.client, json, subprocess, sys, time
from importlib.metadata import version
from pathlib import Path
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

port = int(sys.argv[1])


def ask(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer, answer.read()


def held():
    return len(json.loads(ask("GET", "/instances")[1]))


def emptied():
    for study in json.loads(ask("GET", "/studies")[1]):
        ask("DELETE", "/studies/" + study)


def image(number):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = study, series
    file.PatientID, file.PatientName, file.Modality, file.InstanceNumber = "P1", "Adams^Mary", "DX", number
    file.Rows = file.Columns = 632
    file.SamplesPerPixel, file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 1, 8, 8, 7, 0
    file.PhotometricInterpretation, file.PixelData = "MONOCHROME2", bytes(632 * 632)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    Path("images").mkdir(exist_ok=True)
    file.save_as(f"images/{number}.dcm", enforce_file_format=True)
    return file


for _ in range(300):
    try:
        print("Orthanc", json.loads(ask("GET", "/system")[1])["Version"])
        break
    except OSError:
        time.sleep(0.1)
study, series = generate_uid(), generate_uid()
images = [image(number) for number in (1, 2, 3, 4)]


def stow(numbers):
    parts = [b"--B\r\nContent-Type: application/dicom\r\n\r\n" + Path(f"images/{n}.dcm").read_bytes() + b"\r\n" for n in numbers]
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=B', "Accept": "application/dicom+json"}
    answer, body = ask("POST", "/dicom-web/studies", b"".join(parts) + b"--B--", kind)
    failed = len(json.loads(body).get("00081198", {}).get("Value", []))
    print(f"{len(parts)} sent: {answer.status}, Content-Type: {answer.headers.get_all('Content-Type')}, failed: {failed}, in Orthanc: {held()}")
    return answer.status, len(answer.headers.get_all("Content-Type")), failed, held()


all_stored = stow((1, 2))
emptied()
some_refused = stow((1, 2, 3, 4))
emptied()
client = DICOMwebClient(f"http://127.0.0.1:{port}/dicom-web")
result = client.store_instances(images)
print("dicomweb-client", version("dicomweb-client"), "store_instances():", dict(result), "- in Orthanc:", held())
by_client = len(result), held()
emptied()
tool = Path(sys.executable).with_name("healthcarecli")
subprocess.run([tool, "dicom", "web", "profile", "add", "o", "--url", f"http://127.0.0.1:{port}/dicom-web"], check=True, capture_output=True)
ran = subprocess.run([tool, "dicom", "web", "stow", "--profile", "o", "images"], capture_output=True, text=True)
says = ran.stderr.split("\n")[-2].strip()
print("healthcarecli", version("healthcarecli"), "-", says, "- exit code", ran.returncode, "- in Orthanc:", held())
by_tool = ran.returncode, says, held()
right = all_stored == (200, 1, 0, 2) and some_refused == (202, 2, 2, 2)
sys.exit(not (right and by_client == (0, 2) and by_tool == (0, "4/4 files stored.", 2)))
END
