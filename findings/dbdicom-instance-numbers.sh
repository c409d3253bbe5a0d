#!/bin/sh
# dbdicom keeps one image of those that share an instance number: it copies two of four, and a patient who was deleted comes back.
#
# The package reads a folder of DICOM files into an index, by patient, study, series and Instance Number. That number need not be
# unique in a series, only the SOP Instance UID is (PS3.3, C.12.1): single X-rays and photographs are often all 1. Of each number
# the last file is left in the index (0.3.21), and copy(), move(), archive(), files() and to_npz() work on that. delete() deletes
# those files, and the patient is gone from the list; the others stay in the folder, and when the folder is read again the patient
# is there with the images that were hidden before. move() is copy() and delete(). There is no error and no warning.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" dbdicom==0.3.21 pydicom==3.0.2 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END' 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
import importlib.metadata, sys, zipfile
from pathlib import Path
import dbdicom
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

study, series = generate_uid(), generate_uid()
for at, (view, number) in enumerate([("left", 1), ("right", 1), ("left, side", 2), ("right, side", 2)]):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.Modality = study, series, "DX"
    file.PatientID, file.PatientName, file.StudyDate = "P1", "Adams^Mary", "20260105"
    file.StudyID, file.StudyDescription, file.SeriesNumber, file.SeriesDescription = "1", "knees", 1, "standing"
    file.InstanceNumber, file.ImageComments = number, view
    file.Rows = file.Columns = file.SamplesPerPixel = 1
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.PhotometricInterpretation, file.PixelData = "MONOCHROME2", bytes(2)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    Path("clinic").mkdir(exist_ok=True)
    file.save_as(f"clinic/{at}.dcm", enforce_file_format=True)


def views(place):
    return sorted(dcmread(path).ImageComments for path in Path(place).rglob("*.dcm"))


print("dbdicom", importlib.metadata.version("dbdicom"))
print("clinic:", views("clinic"))
(patient,) = dbdicom.patients("clinic")
listed = len(dbdicom.files(patient))
dbdicom.copy(patient, ["research", "P1"])
dbdicom.archive("clinic", "zips")
zipped = sum(len(zipfile.ZipFile(path).namelist()) for path in Path("zips").rglob("*.zip"))
print(f"files(): {listed}, archive(): {zipped}, copy():", views("research"))
dbdicom.delete(patient)
after = dbdicom.patients("clinic")
left = views("clinic")
again = dbdicom.open("clinic").read().patients()
print("after delete() of the patient:", after, "- left in the folder:", left, "- read again:", again)
right = (listed, zipped, len(views("research"))) == (2, 2, 2)
sys.exit(not (right and after == [] and len(left) == 2 and again == [["clinic", "P1"]]))
END
