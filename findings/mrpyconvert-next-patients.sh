#!/bin/sh
# mrpyconvert stores the scan of patient 002 as sub-001, and the scans of all patients as sub-004, if the names hold a space: "MS 001".
#
# The package (0.1.34) converts folders of DICOM to BIDS. It writes a script for bash with two lists, the subjects and their folders, and
# calls dcm2niix for the first subject with the first folder, and so on. By default a subject is the Patient's Name, which in a study is
# often a code. The list of subjects has no quotation marks: each space in a name makes two entries of it, and all names behind it belong
# to other folders. Of "MS 001" to "MS 004" become MS, 001, MS, 002, ...: sub-001 has the images of 002, sub-002 those of 004. The names left
# over have no folder, and dcm2niix gets the one above: sub-003 and sub-004 have the images of all four, one as _T1w and the others with
# a letter behind it. Of "Da Silva^Ana" and "Evans^Mary" Silva has the images of Evans. There is no error, each conversion
# reports success. The patient's real name stands in the file beside each image.
#
# Needs python3 and its venv, and bash. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check mrpyconvert==0.1.34 dcm2niix==1.0.20260724 pydicom==3.0.2 2>"$folder/log"

cd "$folder"
PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/python" - <<'END'
import importlib.metadata, json, os, struct, sys
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
import mrpyconvert


def scan(place, name):
    study, series = generate_uid(), generate_uid()
    Path(place).mkdir(parents=True)
    for number in range(1, 4):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, generate_uid()
        file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = study, series, study
        file.PatientID, file.PatientName, file.PatientSex, file.PatientAge = place[-1], name, "F", "040Y"
        file.StudyDate, file.StudyTime, file.Modality, file.Manufacturer = "20260105", "100000", "MR", "other"
        file.SeriesDescription, file.SeriesNumber, file.InstanceNumber, file.AcquisitionNumber = "T1", 1, number, 1
        file.ImageType, file.RepetitionTime, file.EchoTime = ["ORIGINAL", "PRIMARY", "M"], 500, 10
        file.ImageOrientationPatient, file.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2 * number]
        file.PixelSpacing, file.SliceThickness, file.SpacingBetweenSlices = [1, 1], 2, 2
        file.Rows = file.Columns = 16
        file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
        file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
        file.PixelData = struct.pack("<256H", *range(256))
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.save_as(f"{place}/{number}.dcm", enforce_file_format=True)


def converted(title, *names):
    for number, name in enumerate(names, 1):
        scan(f"{title}/scans/{number}", name)
    Path(f"{title}/bids").mkdir()
    converter = mrpyconvert.Converter(bids_path=f"{title}/bids")
    converter.add_dicoms(f"{title}/scans")
    converter.add_entry("T1", datatype="anat", suffix="T1w")
    shown, log = os.dup(1), os.open("conversions.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)  # what dcm2niix says goes there
    converter.convert()
    os.dup2(shown, 1)
    subjects = {}
    for path in sorted(Path(f"{title}/bids").rglob("*.json")):
        subjects.setdefault(path.parts[2], {})[path.stem] = json.loads(path.read_text())["PatientName"]
    for subject, scans in subjects.items():
        print(f"{subject} has the scans of", *sorted(set(scans.values())), sep="  ", flush=True)
    return subjects


print("mrpyconvert", importlib.metadata.version("mrpyconvert"), "- dcm2niix", importlib.metadata.version("dcm2niix"), flush=True)
codes = converted("codes", "MS 001", "MS 002", "MS 003", "MS 004")
people = converted("people", "Adams^John", "Da Silva^Ana", "Evans^Mary")
every = ["MS 001", "MS 002", "MS 003", "MS 004"]
sys.exit(not (
    codes["sub-001"] == {"sub-001_T1w": "MS 002"} and codes["sub-002"] == {"sub-002_T1w": "MS 004"}
    and all(sorted(set(codes[subject].values())) == every for subject in ("sub-003", "sub-004", "sub-MS"))
    and people["sub-Silva^Ana"] == {"sub-Silva^Ana_T1w": "Evans^Mary"} and len(people["sub-Evans^Mary"]) == 3
))
END
