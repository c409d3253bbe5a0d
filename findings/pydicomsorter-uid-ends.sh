#!/bin/sh
# pydicomsorter names folders after the last five characters of a UID: all MR series of a Siemens scanner are one folder, 0.0.0.
#
# `dicomsort` (0.15.0) copies or moves DICOM files to paths that the user makes of attributes, such as %PatientID/%SeriesInstanceUID. Of
# each UID it takes the last five characters, which no document says and no option changes. A UID is unique as a whole only. Those of
# Siemens' series end in .0.0.0 (a time stamp stands before it), so the series of an examination lie in one folder, and with
# %InstanceNumber they have the same names: with --overwrite the last series is left, and with --method move the others are gone
# from the source as well. With --keep-going they are left out. By default the program ends at the first of them, with some files
# moved and some not. UIDs of images, as names, are equal by chance: of 1,000 images whose UIDs end in digits about five are. The exit
# code is 0 in all these cases.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicomsorter==0.15.0 pydicom==3.0.2 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END' 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
import importlib.metadata, subprocess, sys
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

scanner = "1.3.12.2.1107.5.2.19.45152"  # with the serial number of a scanner
series = {"T1": "2026010508110258929186035.0.0.0", "T2": "2026010508174811034187290.0.0.0", "flair": "2026010508253170226589113.0.0.0"}


def write(place):
    study = generate_uid()
    for at, (name, end) in enumerate(series.items()):
        for number in (1, 2):
            file = Dataset()
            file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, f"{scanner}.202601050811{at}{number}93847261"
            file.StudyInstanceUID, file.SeriesInstanceUID = study, f"{scanner}.{end}"
            file.PatientID, file.PatientName, file.Modality = "P1", "Adams^Mary", "MR"
            file.SeriesNumber, file.SeriesDescription, file.InstanceNumber = at + 1, name, number
            file.file_meta = FileMetaDataset()
            file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            Path(place, name).mkdir(parents=True, exist_ok=True)
            file.save_as(f"{place}/{name}/{number}.dcm", enforce_file_format=True)


def images(place):
    return sorted((str(path.parent.relative_to(place)), dcmread(path).SeriesDescription) for path in Path(place).rglob("*.dcm"))


def sort(run, *options):
    write(f"{run}/in")
    pattern = f"{run}/out/%PatientID/%SeriesInstanceUID/%InstanceNumber.dcm"
    ran = subprocess.run([Path(sys.executable).with_name("dicomsort"), *options, f"{run}/in", pattern], capture_output=True, text=True)
    out, left = images(f"{run}/out"), images(f"{run}/in")
    says = [line for line in ran.stdout.replace("\n/", " /").splitlines() if "rror" in line or "Found" in line]
    print(" ".join(options) + ": exit code", ran.returncode, [line.split(" /")[0] for line in says])
    print("  sorted:", out, "- left:", len(left))
    return ran.returncode, len(out), len(left), {place for place, _ in out}, len({name for _, name in out})


print("pydicomsorter", importlib.metadata.version("pydicomsorter"), "- six images in three series")
one = {"P1/0.0.0"}
plain = sort("a", "--method", "move")
kept = sort("b", "--method", "move", "--keep-going")
gone = sort("c", "--method", "move", "--overwrite")
sys.exit(not (plain == (0, 2, 4, one, 1) and kept == (0, 2, 4, one, 1) and gone == (0, 2, 0, one, 1)))
END
