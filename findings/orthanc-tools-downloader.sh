#!/bin/sh
# The downloader of orthanc-tools saves no study when no label is asked for, says "Over :-)", and exits with 0.
#
# orthanc_tools.orthanc_downloader downloads the content of an Orthanc into a folder, which is "./backup" in its own example.
# --labels is optional, and its help reads as if it narrowed the download. In 0.23.0 a study is saved only if it has one of the
# labels that were given: without the option none has, and studies without a label cannot be saved at all. The log does not say
# how many were left out. The folder is put before the study's id without a separator: with --folder=backup the folder "backup"
# stays empty although studies were saved, beside it.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 orthanc-tools==0.23.0 orthanc-api-client==0.25.3

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": []}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 "$folder/venv/bin/python" - "$port" "$folder" <<'END'
import json, subprocess, sys, time, urllib.request
from io import BytesIO
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

at, folder = f"http://127.0.0.1:{sys.argv[1]}", Path(sys.argv[2])

def ask(path, body=None, method=None):
    with urllib.request.urlopen(urllib.request.Request(at + path, body, method=method), timeout=60) as answer:
        return json.loads(answer.read() or "null")

def instance(patient_id):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID = patient_id
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

studies = [ask("/instances", instance(f"P-{number}"))["ParentStudy"] for number in range(3)]
ask(f"/studies/{studies[0]}/labels/teaching", b"", "PUT")
print("Orthanc holds 3 studies; one has the label teaching")

def downloaded(name, *options):
    inside = folder / name / "backup"
    inside.mkdir(parents=True)
    program = [sys.executable, "-m", "orthanc_tools.orthanc_downloader", "--url", at, "--folder", "backup", *options]
    done = subprocess.run(program, cwd=folder / name, capture_output=True, text=True, timeout=120)
    end = done.stderr.strip().splitlines()[-1].rpartition(" - ")[2]
    files = [each.relative_to(folder / name).parts[0] for each in (folder / name).rglob("*.dcm")]
    within = files.count("backup")
    asked = " ".join(options) or "without --labels"
    print(asked, "- exit code:", done.returncode, "-", end, "- files saved:", len(files), "- in backup:", within)
    return done.returncode, end, files

right = downloaded("all") == (0, "Over :-)", [])
right &= downloaded("some", "--labels", "teaching") == (0, "Over :-)", ["backup" + studies[0]])
sys.exit(not right)
END
