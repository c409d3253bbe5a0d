#!/bin/sh
# dicom-organizer takes the next patient of a scanner for one that is there: three of Baker's images are left out, the fourth is in Adams' series.
#
# The tool (0.2.0) sorts DICOM files into folders, by default one for each scanner and day, in it one for each series, named after its
# number and description; files are named after their instance number. Within one run it keeps series apart by their UID. In the next
# run it knows paths alone. The scanner's next patient of that day, with the same protocol, has the same paths: the run ends with an error,
# which says to use "--if-exists skip to continue into an existing output folder". With that, what has a number that is there is left
# out as existing_output, and what has not is put into the series of the patient who was first. The program says status=completed,
# duplicate_conflicts=0, and exits with 0; the UIDs, by which it could tell, are in its own tables.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicom-organizer==0.2.0 pydicom==3.0.2 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END' 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
import importlib.metadata, subprocess, sys
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def write(place, patient, name, images):
    study, series = generate_uid(), generate_uid()
    Path(place).mkdir()
    for number in range(1, images + 1):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, generate_uid()
        file.StudyInstanceUID, file.SeriesInstanceUID, file.Modality = study, series, "MR"
        file.PatientID, file.PatientName, file.StudyDate, file.StudyDescription = patient, name, "20260105", "knee"
        file.SeriesNumber, file.SeriesDescription, file.InstanceNumber = 3, "t1", number
        file.Manufacturer, file.ManufacturerModelName = "SIEMENS", "MAGNETOM Vida"
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.save_as(f"{place}/{number}.dcm", enforce_file_format=True)


def organize(*options):
    command = [Path(sys.executable).with_name("dicom-organizer"), *options, "--no-progress"]
    ran = subprocess.run(command, capture_output=True, text=True)
    wanted = ("status=", "organized_files=", "skipped_existing=", "duplicate_conflicts=")
    says = [line for line in ran.stdout.splitlines() if line.startswith(wanted)] or [(ran.stdout + ran.stderr).strip().splitlines()[-1][-90:]]
    print(*options, "- exit code", ran.returncode, says)
    places = {}
    for path in sorted(Path("out").rglob("*.dcm")):
        places.setdefault(str(path.parent), []).append(str(dcmread(path).PatientName))
    print("  ", places)
    return ran.returncode, says, list(places.values())


print("dicom-organizer", importlib.metadata.version("dicom-organizer"))
write("monday-morning", "P1", "Adams^Mary", 3)
write("monday-noon", "P2", "Baker^John", 4)
first = organize("monday-morning", "-o", "out")
refused = organize("monday-noon", "-o", "out")
second = organize("monday-noon", "-o", "out", "--if-exists", "skip")
adams = ["Adams^Mary"] * 3
right = first[0] == 0 and first[2] == [adams] and refused[0] != 0 and "--if-exists skip" in refused[1][0] and refused[2] == [adams]
said = ["status=completed", "organized_files=1", "skipped_existing=3", "duplicate_conflicts=0"]
sys.exit(not (right and second == (0, said, [[*adams, "Baker^John"]])))
END
