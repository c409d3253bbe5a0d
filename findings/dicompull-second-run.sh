#!/bin/sh
# A second run of dicompull into {PatientID} writes over what the first has put there, even another patient's: P-1 and P/1 are both P_1.
#
# `dicompull` (vtk-dicom-tools 0.8.14, Debian 12) copies DICOM files into folders that are named by attributes. It gives each file a new
# name, IM-0001-0001.dcm, which no document says: the series' and the image's number within this run and folder. The next run begins at
# 0001 again, and replaces the files of that name without a word, exit code 0; so of a CT of 2019 and one of 2025 the later one is left,
# or a mixture of both if it has fewer images. In the name of a folder every character but ASCII letters and digits becomes _, and an ID
# without any of these becomes "Empty": the patients P-1, P/1 and P_1 are one folder, and so are 山田 and 鈴木 and the one without an ID.
#
# Needs Debian 12 on amd64 with apt, python3 and its venv. dicompull is unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
(. "$here/scripts/_environment" && "$bin/python" -m fm_pipeline.sandbox.programs.debian "$folder/tools" \
    vtk-dicom-tools=0.8.14-3.1) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 2>"$folder/log"

cd "$folder"
LD_LIBRARY_PATH="$folder/tools/usr/lib/x86_64-linux-gnu" venv/bin/python - <<'END'
import subprocess, sys
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

PROGRAM = "tools/usr/bin/dicompull"


def disc(name, patient_id, images):
    study, series = generate_uid(), generate_uid()
    for number in range(1, images + 1):
        file = Dataset()
        file.SpecificCharacterSet = "ISO_IR 192"
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
        file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = study, series, patient_id
        file.Modality, file.InstanceNumber, file.ImageComments = "CT", number, name
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = Path("discs", name, f"{number}.dcm")
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save_as(path, enforce_file_format=True)


def pull(*names, to):
    Path(to).mkdir(exist_ok=True)
    places = ["discs/" + name for name in names]
    done = subprocess.run([PROGRAM, "--silent", "-o", to + "/{PatientID}", *places], capture_output=True, text=True, timeout=60)
    found = {}
    for path in sorted(Path(to).rglob("*.dcm")):
        found.setdefault(path.parent.name, []).append(path.stem + ": " + dcmread(path).ImageComments)
    print("dicompull", *names, "- exit code", done.returncode, (done.stdout + done.stderr).strip(), found)
    return found if done.returncode == 0 else None


print(subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout.strip())
for name, patient_id, images in (("2019", "P-1", 3), ("2025", "P-1", 2), ("slash", "P/1", 2), ("山田", "山田", 1), ("鈴木", "鈴木", 1)):
    disc(name, patient_id, images)
pull("2019", to="archive")
later = pull("2025", to="archive")
other = pull("slash", to="archive")
pull("山田", to="names")
kanji = pull("鈴木", to="names")
first = ["IM-0001-0001", "IM-0001-0002"]
right = later == {"P_1": [*(f"{name}: 2025" for name in first), "IM-0001-0003: 2019"]}
right &= other == {"P_1": [*(f"{name}: slash" for name in first), "IM-0001-0003: 2019"]}
sys.exit(not (right and kanji == {"Empty": ["IM-0001-0001: 鈴木"]}))
END
