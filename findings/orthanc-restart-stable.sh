#!/bin/sh
# Orthanc never says StableStudy of a study that came in the minute before a restart: what waits for it never sends that study.
#
# A study is stable if nothing was added to it for StableAge (60 seconds by default). Orthanc (1.12.7) then writes StableStudy into
# /changes and calls OnStableStudy, by which scripts send whole studies to the archive or to a reader. It has the studies that it waits for
# in memory only: a restart in that time, also an orderly one, forgets them. After it they count as stable at once (IsStable is true),
# and neither the entry in /changes nor the call comes, then or later; not for the patient and the series either. The images are all
# there, nothing is in the log, and studies that come after the restart are sent as ever, so that one missing study is not noticed.
# The event comes only if somebody adds an image to the study.
#
# Needs Debian on amd64 with apt, python3 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1

"$here/scripts/unpack-orthanc" trixie "$folder/orthanc" 1.12.7+dfsg-4 >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import json, socket, subprocess, sys, time, urllib.request
from io import BytesIO
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

folder, age = Path(sys.argv[1]), 10
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
(folder / "stable.lua").write_text("function OnStableStudy(study, tags, metadata) print('OnStableStudy ' .. study) end\n")
(folder / "orthanc.json").write_text(json.dumps({
    "StorageDirectory": f"{folder}/store", "IndexDirectory": f"{folder}/store", "HttpPort": port, "DicomServerEnabled": False,
    "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "Plugins": [], "StableAge": age,
    "LuaScripts": [f"{folder}/stable.lua"]}))
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    with opener.open(urllib.request.Request(f"http://127.0.0.1:{port}{path}", body), timeout=60) as answer:
        return json.loads(answer.read())

def started():
    with open(folder / "orthanc.log", "a") as log:
        process = subprocess.Popen([folder / "orthanc/Orthanc", folder / "orthanc.json"], stdout=log, stderr=log)
    for _ in range(300):
        try:
            ask("/system")
            return process
        except OSError:
            time.sleep(0.1)
    sys.exit("Orthanc does not answer")

def upload(patient, study):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = study, generate_uid(), patient
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return ask("/instances", out.getvalue())["ParentStudy"]

def events(study):
    changes = ask("/changes?limit=1000")["Changes"]
    return [change["ChangeType"] for change in changes if change["ID"] == study]

def wait_for_stable(study):
    for _ in range(30 * age):
        if "StableStudy" in events(study):
            return
        time.sleep(0.1)
    sys.exit("no StableStudy")

orthanc = started()
try:
    print("Orthanc", ask("/system")["Version"], "- StableAge:", age, "seconds")
    uid = generate_uid()
    before = upload("P-1", uid)
    orthanc.terminate()
    print("P-1 uploaded - Orthanc stopped, exit code:", orthanc.wait(timeout=60), "- started again")
    orthanc = started()
    after = upload("P-2", generate_uid())
    at_once = ask(f"/studies/{before}")["IsStable"], ask(f"/studies/{after}")["IsStable"]
    wait_for_stable(after)
    time.sleep(age)  # that it does not come can only be seen by time
    called = (folder / "orthanc.log").read_text()
    for patient, study, stable in (("P-1, before the restart", before, at_once[0]), ("P-2, after it", after, at_once[1])):
        print(patient, "- IsStable at once:", stable, "- /changes:", *events(study), "- OnStableStudy was called:",
              f"OnStableStudy {study}" in called)
    right = at_once == (True, False) and events(before) == ["NewStudy"] and events(after) == ["NewStudy", "StableStudy"]
    right &= f"OnStableStudy {after}" in called and f"OnStableStudy {before}" not in called
    upload("P-1", uid)
    wait_for_stable(before)
    print("one more image of P-1 - /changes:", *events(before))
finally:
    orthanc.terminate()
    orthanc.wait(timeout=60)
sys.exit(not right)
END
