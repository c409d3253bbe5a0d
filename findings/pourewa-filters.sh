#!/bin/sh
# pourewa, told to delete Adams' studies of one day, deletes all of Adams' studies and all patients' studies of that day.
#
# The command line for Orthanc (0.1.2) takes a name (-n), dates (-d), a tag (-tag) and others, "to filter on", and the help says of
# dates that they "can be combined". A study is taken if one of them fits, so that each further filter takes more; and -n fits any
# part of a name. -D deletes at once. An export (-E) puts each study in a folder named after date and name, and each series in one named
# after its number and description. If that folder is there and has as many files, it leaves the series out; if it has fewer, it
# puts the files among them. So of two examinations of one day with equal protocols, before and after an operation, or of two patients of
# one name, the first is exported. The exit code is 0, and the output counts all studies.
#
# Needs Debian on amd64 with apt, python3.11 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
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
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pourewa==0.1.2 pydicom==3.0.2 2>"$folder/log"

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": [], "StableAge": 1}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

cd "$folder"
"$folder/venv/bin/python" - "$port" <<'END'
import importlib.metadata, json, subprocess, sys, time, urllib.request
from io import BytesIO
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(path, body=None):
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return json.load(answer)


def send(name, day, study):
    uids = generate_uid(), generate_uid()
    for number in (1, 2):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
        file.StudyInstanceUID, file.SeriesInstanceUID = uids
        file.PatientID, file.PatientName, file.Modality = name[0] + "-1", name, "DX"
        file.StudyDate, file.StudyID, file.StudyDescription = day, "1", study
        file.SeriesNumber, file.SeriesDescription, file.InstanceNumber = 1, "knee", number
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        out = BytesIO()
        file.save_as(out, enforce_file_format=True)
        ask("/instances", out.getvalue())


def held():
    studies = ask("/studies?expand")
    return sorted((s["PatientMainDicomTags"]["PatientName"], s["MainDicomTags"]["StudyDescription"]) for s in studies)


def pourewa(*options):
    command = [Path(sys.executable).with_name("pourewa"), "-u", "127.0.0.1", "-p", sys.argv[1], "-exposed", "", *options]
    ran = subprocess.run(command, capture_output=True, text=True)
    says = [line for line in ran.stdout.splitlines() if "studies" in line]
    print("pourewa", *options, "- exit code", ran.returncode, says)
    return ran.returncode, len(says)


for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"], "- pourewa", importlib.metadata.version("pourewa"))
        break
    except OSError:
        time.sleep(0.1)
for name, day, study in (("Adams^Mary", "20250601", "last year"), ("Adams^Mary", "20260105", "before"), ("Adams^Mary", "20260105", "after"),
                         ("Baker^John", "20260105", "other patient"), ("Clark^Ann", "20260201", "other day")):
    send(name, day, study)
while not all(study["IsStable"] for study in ask("/studies?expand")):
    time.sleep(0.1)
print("in Orthanc:", held())
exported = pourewa("-n", "Adams", "-E", "-o", "out")
files = sorted((path.parts[1], dcmread(path).StudyDescription) for path in Path("out").rglob("*.dcm"))
print("  files:", files)
day = [study for folder, study in files if folder.startswith("26")]
deleted = pourewa("-n", "Adams", "-d", "20260105", "20260105", "-D")
left = held()
print("  left:", left)
one = day in (["before", "before"], ["after", "after"]) and len(files) == 4
sys.exit(not (exported[0] == deleted[0] == 0 and one and left == [("Clark^Ann", "other day")]))
END
