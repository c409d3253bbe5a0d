#!/bin/sh
# dicom-qr says "1 studies for patient id P1" of a patient who has three: those since her marriage are not listed.
#
# The tool (0.2.6) queries and retrieves from a PACS. It groups the studies that the server has found by the patient's name, as each
# study has it, and prints the first group alone, with that group's number in the title. After a marriage, or where one site wrote the
# middle name too, the rest is not there. Asked for the name Adams*, it shows the first Adams, whoever else there is. A download of
# several studies numbers the series from 1 in each study, and names the folder after patient, day, descriptions and that number (the
# default template). So of two examinations of a day with one protocol, before and after an operation, all images lie in one folder,
# as one series. The exit code is 0 each time.
#
# Needs Debian with dcmtk (dcmqrscp is the PACS, on 127.0.0.1), python3.11 or newer and its venv.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" dicom-qr==0.2.6 pydicom==3.0.2 pynetdicom==3.0.4 2>"$folder/log"

cd "$folder"
mkdir store
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >server.cfg <<END
NetworkTCPPort = $port
HostTable BEGIN
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
PACS $folder/store RW (20, 100mb) ANY
AETable END
END
cat >settings.json <<END
{"dimse": {"server_ae_title": "PACS", "server_ae_ip": "127.0.0.1", "server_ae_port": $port, "client_ae_title": "CLIENT", "client_ae_port": 104,
  "transfer_method": "get"}, "study_columns": [{"name": "PatientID"}, {"name": "PatientName"}, {"name": "StudyDate"}]}
END
dcmqrscp -c server.cfg >server.log 2>&1 &
server=$!

"$folder/venv/bin/python" - "$port" <<'END' 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
import importlib.metadata, re, subprocess, sys, time
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

uids = []


def study(patient, name, day, when):
    uids.append(generate_uid())
    series = generate_uid()
    for number in (1, 2):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
        file.StudyInstanceUID, file.SeriesInstanceUID = uids[-1], series
        file.PatientID, file.PatientName, file.Modality, file.AccessionNumber = patient, name, "DX", when
        file.StudyDate, file.StudyTime, file.StudyID, file.StudyDescription = day, "100000", "1", "knee"
        file.SeriesNumber, file.SeriesDescription, file.InstanceNumber, file.ImageComments = 1, "standing", number, when
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.save_as(f"{when}-{number}.dcm", enforce_file_format=True)


study("P1", "Adams^Mary", "20250105", "last year")
study("P1", "Baker^Mary", "20260105", "before")
study("P1", "Baker^Mary", "20260105", "after")
study("P2", "Adams^John", "20260301", "other patient")
for _ in range(100):
    if subprocess.run(["storescu", "-aec", "PACS", "127.0.0.1", sys.argv[1], *map(str, Path().glob("*.dcm"))], capture_output=True).returncode == 0:
        break
    time.sleep(0.1)
found = subprocess.run(["findscu", "-S", "-aec", "PACS", "127.0.0.1", sys.argv[1], "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P1",
                        "-k", "PatientName", "-k", "StudyInstanceUID"], capture_output=True, text=True)
names = re.findall(r"PN \[(\S+?)\s*\]", found.stdout + found.stderr)
print("the PACS has of P1:", names)


def asked(*options):
    ran = subprocess.run([Path(sys.executable).with_name("dicom-qr"), *options], capture_output=True, text=True)
    return ran.returncode, ran.stdout


print("dicom-qr", importlib.metadata.version("dicom-qr"))
right = sorted(names) == ["Adams^Mary", "Baker^Mary", "Baker^Mary"]
for options, title in ((("list-studies-patient-id", "P1"), "1 studies for patient id P1"),
                       (("list-studies-name", "Adams*"), "1 studies for patient named Adams*")):
    code, out = asked(*options)
    print(out.rstrip())
    right = right and code == 0 and title in out and len(re.findall(r"P\d │", out)) == 1
Path("uids.csv").write_text("\n".join(["StudyInstanceUID", *uids]))
code, _ = asked("download-from-studyuid-file", "uids.csv", "--dumpdir", "out")
folders = {}
for path in sorted(Path("out").rglob("*.dcm")):
    folders.setdefault(str(path.parent), []).append(str(dcmread(path).ImageComments))
for place, images in folders.items():
    print(place, sorted(images))
mixed = folders.get("out/P1/20260105/knee/DX/1_standing", [])
sys.exit(not (right and code == 0 and sorted(mixed) == ["after", "after", "before", "before"]))
END
