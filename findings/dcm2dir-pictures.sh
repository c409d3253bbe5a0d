#!/bin/sh
# dcm2dir -a writes DICOM files without their pictures; with -a or without, files of equal names replace each other.
#
# dcm2dir sorts the DICOM files of a folder into folders by patient, study and series, and anonymizes them with -a. For that it
# reads each file only up to its Pixel Data, and saves what it has read: the new files have the picture's size and no picture. It
# keeps the names of the files, and hospitals' discs all name them alike (IM0001, IM0002): of a series on two discs one half is
# left. The name of a folder has letters and digits alone, so the patients P-1 and P_1 share one, as do those whose IDs are
# Kanji of equal number (__), and a file of one takes the place of the other's. The exit code is 0, and the report counts all.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dcm2dir==1.1.0.20250402 pydicom==3.0.2 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import subprocess, sys
from importlib.metadata import version
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

folder = Path(sys.argv[1])

def write(path, patient_id, study, series, number):
    file = Dataset()
    file.SpecificCharacterSet = "ISO_IR 192"
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = study, series
    file.PatientID, file.PatientName, file.PatientBirthDate, file.PatientSex = patient_id, "Adams^Mary", "19700102", "F"
    file.StudyDate, file.StudyTime, file.StudyID, file.AccessionNumber = "20260105", "101112", "1", "A-1"
    file.Modality, file.SeriesNumber, file.SeriesDescription, file.InstanceNumber = "CT", 1, "Chest", number
    file.Rows = file.Columns = 2
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.PixelRepresentation, file.SamplesPerPixel, file.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    file.PixelData = bytes([number, 0] * 4)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)

study, series = generate_uid(), generate_uid()
for number in range(1, 7):
    write(folder / f"discs/{(number + 2) // 3}/IM{(number - 1) % 3 + 1:04}", "P-1", study, series, number)
for number, patient_id in enumerate(("P-1", "P_1", "\u5c71\u7530", "\u4f50\u85e4"), 1):
    write(folder / f"patients/{number}/IM0001", patient_id, generate_uid(), generate_uid(), number)

def sorted_by_it(source, name, *options):
    report, target = folder / f"{name}.csv", folder / name
    program = [folder / "venv/bin/dcm2dir", "-i", folder / source, "-o", target, "-r", report, *options]
    done = subprocess.run(program, capture_output=True, timeout=120)
    files = [dcmread(path) for path in sorted(target.rglob("*")) if path.is_file()]
    pictures = sum("PixelData" in file for file in files)
    rows = len(report.read_text().splitlines()) - 1
    print(source, *options, "- exit code:", done.returncode, "- rows of the report:", rows, end=" ")
    print("- files written:", len(files), "- with a picture:", pictures, end=" ")
    print("- folders:", *sorted(path.name for path in target.iterdir()))
    return done.returncode, rows, len(files), pictures

print("dcm2dir", version("dcm2dir"), "- six files of one series on two discs; four patients with a file each")
right = sorted_by_it("discs", "copied") == (0, 6, 3, 3)
right &= sorted_by_it("discs", "anonymized", "-a") == (0, 6, 3, 0)
right &= sorted_by_it("patients", "merged") == (0, 4, 2, 2)
sys.exit(not right)
END
