#!/bin/sh
# dicognito gives all patients without an ID the same new ID, and all studies without an accession number the same number.
#
# Both may be empty in a valid file (type 2, PS3.3): an emergency, a study without an order. The anonymizer replaces an ID by
# letters and digits that it computes from the old value, also from an empty one. What was missing looks like a real ID then, and
# people who have nothing in common share it: an archive that goes by Patient ID files them as one patient, and a list by
# Accession Number shows the studies of several patients as one order. An attribute that is absent stays absent.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicognito==0.19.0 pydicom==3.0.2 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import subprocess, sys
from importlib.metadata import version
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, CTImageStorage, generate_uid

folder = Path(sys.argv[1])
(folder / "in").mkdir()
PATIENTS = {
    "Adams^Mary": ("", "A-1"),
    "Brown^Tom": ("", "A-2"),
    "Clark^Ann": ("P-3", ""),
    "Davis^Joe": ("P-4", ""),
    "Evans^Eve": (None, None),
}
for name, (patient_id, number) in PATIENTS.items():
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientName, file.StudyDescription = name, name
    if patient_id is not None:
        file.PatientID, file.AccessionNumber = patient_id, number
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(folder / "in" / f"{name}.dcm", enforce_file_format=True)

program = [sys.executable, "-m", "dicognito", "--output-directory", folder / "out", folder / "in"]
done = subprocess.run(program, capture_output=True, text=True, timeout=120)
print("dicognito", version("dicognito"), "- exit code:", done.returncode)
after = {}
for path in (folder / "out").iterdir():
    file = dcmread(path)
    after[file.StudyDescription] = (file.get("PatientID"), file.get("AccessionNumber"))
for name, before in PATIENTS.items():
    print(f"{name}: ID and accession number {before} -> {after[name]}")
ids, numbers = ([after[name][place] for name in PATIENTS] for place in (0, 1))
right = done.returncode == 0 and ids[0] and ids[0] == ids[1] and numbers[2] and numbers[2] == numbers[3]
right = right and len(set(ids)) == 4 and len(set(numbers)) == 4 and after["Evans^Eve"] == (None, None)
sys.exit(not right)
END
