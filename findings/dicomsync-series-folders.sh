#!/bin/sh
# dicomsync copies a study whose series are in folders of their own as an empty folder, and calls it there from then on.
#
# dicomsync (1.3.0) keeps places of DICOM files equal: `send` copies the studies of one place that another has not. To a place of
# folders (dicom_root) it copies the files that lie in the study's folder itself; the folders in it, which most exports make, one
# for each series, are left out. The log says "processing", the exit code is 0. The next `send` calls the study a duplicate, and
# `compare` lists it under "Both in", since both look at the name of its folder alone. So it stays when the study gets more
# images, or when a copy was interrupted. A place of ZIP files (zipped_root) gets the folders with their files.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicomsync==1.3.0 pydicom==3.0.2 2>"$folder/log"

cd "$folder"
PATH="$folder/venv/bin:$PATH" HOME="$folder" python - <<'END'
import importlib.metadata, subprocess, sys, zipfile
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def dicomsync(*arguments):
    done = subprocess.run(["dicomsync", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
    file.PatientID = path.parts[1]
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(path, enforce_file_format=True)


def files(place, study):
    return len([path for path in Path(place, study).rglob("*") if path.is_file()])


STUDIES = {"Adams/knee": ["CT/1.dcm", "CT/2.dcm", "MR/1.dcm"], "Brown/chest": ["1.dcm", "2.dcm"]}
for study, names in STUDIES.items():
    for name in names:
        image(Path("hospital", study, name))
print("dicomsync", importlib.metadata.version("dicomsync"))
for command in (["init"], *(["place", "add", kind, name, str(Path(name).absolute())] for kind, name in
                            [("dicom_root", "hospital"), ("dicom_root", "archive"), ("zipped_root", "zips")])):
    if command[0] == "place":
        Path(command[3]).mkdir(exist_ok=True)
    dicomsync(*command)

dicomsync("send", "hospital:*", "archive")
dicomsync("send", "hospital:*", "zips")
sent = {study: files("archive", study) for study in STUDIES}
zipped = {study: len([name for name in zipfile.ZipFile(Path("zips", study + ".zip")).namelist() if name.endswith(".dcm")]) for study in STUDIES}
image(Path("hospital/Brown/chest/3.dcm"))
again = dicomsync("send", "hospital:*", "archive").strip().split("INFO: ")[-1]
later = {study: files("archive", study) for study in STUDIES}
both = dicomsync("compare", "hospital", "archive").split("# Both in")[1].split("# Only in")[0]
for study in STUDIES:
    print(f"{study}: {len(STUDIES[study])} files - sent to a folder: {sent[study]}, to a ZIP: {zipped[study]};", end=" ")
    print(f"a later send: {files('hospital', study)} files, {later[study]} there; compare says both: {study in both}")
print("the later send says:", again)
right = sent == later == {"Adams/knee": 0, "Brown/chest": 2} and zipped == {"Adams/knee": 3, "Brown/chest": 2}
right &= all(study in both for study in STUDIES) and again == "All studies were duplicates. Not sending anything."
sys.exit(not right)
END
