#!/bin/sh
# The folder importer of orthanc-tools files a report under another patient: that of the image it has uploaded last.
#
# With --dicomize_pdf, orthanc_tools.orthanc_folder_importer (0.23.0) uploads PDF files too, and its help says no more. It attaches
# them to the study of the file or folder that was uploaded just before; within a folder, PDF files come last. Two patients in
# one folder: the reports of both are the second one's. Reports in a folder of their own, or beside images that an earlier run
# has uploaded (--state_path): Orthanc makes up a patient for each, with a random ID and no name. Exit code 0, no line in the
# log and none in the file of errors.
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
import json, re, subprocess, sys, time, urllib.request
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

at, folder = f"http://127.0.0.1:{sys.argv[1]}", Path(sys.argv[2])

def ask(path, method=None):
    with urllib.request.urlopen(urllib.request.Request(at + path, method=method), timeout=60) as answer:
        return json.load(answer)

def image(path, patient_id):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.PatientName = patient_id, "Sample^" + patient_id
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)

def report(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"%PDF-1.4\ntrailer\n%%EOF\n")

def imported(name):
    options = ["--folder_path", name, "--state_path", name + ".state", "--errors_path", name + ".errors", "--max_retries", "0"]
    program = [sys.executable, "-m", "orthanc_tools.orthanc_folder_importer", "--url", at, *options, "--dicomize_pdf"]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=120)
    quiet = not done.returncode and ".pdf" not in done.stderr and not (folder / (name + ".errors")).exists()
    owners = []
    for row in ask("/instances"):
        tags = ask(f"/instances/{row}/simplified-tags")
        if tags["SOPClassUID"] == "1.2.840.10008.5.1.4.1.1.104.1":  # a PDF
            owners.append((tags["PatientID"], tags.get("PatientName")))
    for row in ask("/patients"):
        ask(f"/patients/{row}", "DELETE")
    print(f"{name}: exit code {done.returncode}, no word of a report: {quiet}; the reports belong to", *owners)
    return owners if quiet else None

def made_up(owners):
    [(patient_id, name)] = owners or [("", None)]
    return bool(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", patient_id)) and not name

for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"])
        break
    except OSError:
        time.sleep(0.1)

image(folder / "usual/P-1/images/1.dcm", "P-1")
report(folder / "usual/P-1/report.pdf")
right = imported("usual") == [("P-1", "Sample^P-1")]

image(folder / "one-folder/P-1.dcm", "P-1")
image(folder / "one-folder/P-2.dcm", "P-2")
report(folder / "one-folder/P-1.pdf")
report(folder / "one-folder/P-2.pdf")
right &= imported("one-folder") == [("P-2", "Sample^P-2")] * 2

image(folder / "own-folder/P-1/images/1.dcm", "P-1")
report(folder / "own-folder/P-1/reports/1.pdf")
right &= made_up(imported("own-folder"))

image(folder / "second-run/P-1/images/1.dcm", "P-1")
report(folder / "second-run/P-1/report.pdf")
(folder / "second-run.state").write_text("second-run/P-1/images\n")  # as a run leaves it that ended behind the images
right &= made_up(imported("second-run"))
sys.exit(not right)
END
