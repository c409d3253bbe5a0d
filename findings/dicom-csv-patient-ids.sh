#!/bin/sh
# normalize_identifiers() of dicom-csv makes one patient of several: 007 becomes 7, 1E2 becomes 100, 12.7 becomes 12.
#
# A Patient ID is text (PS3.5, LO). dicom-csv's own join_tree() reads it as text; normalize_identifiers(), which is documented as
# "converts PatientID to str", reads it as a floating-point number then and writes the whole part of that, so that long IDs are
# rounded too. Patients whose IDs are equal now are one to aggregate_images(): its row counts the files of both, and since it
# leaves out each column whose values differ, the names of both, which would tell, are gone from it.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicom-csv==0.5.1 pydicom==3.0.2 pandas==2.3.3 2>"$folder/log"

"$folder/venv/bin/python" -W ignore - "$folder" <<'END'
import sys
from importlib.metadata import version
from pathlib import Path
from dicom_csv import join_tree
from dicom_csv.aggregation import aggregate_images, normalize_identifiers
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

files = Path(sys.argv[1], "files")
files.mkdir()
PATIENTS = {
    "007": "Adams^Mary",
    "7": "Brown^Tom",
    "1E2": "Clark^Ann",
    "100": "Davis^Joe",
    "12.1": "Evans^Eva",
    "12.7": "Frank^Max",
    "20260105123456788": "Green^Amy",
    "20260105123456789": "Hayes^Ian",
    "P-1": "Irwin^Zoe",
}
MERGED = {"7": 2, "100": 2, "12": 2, "20260105123456788": 2, "P-1": 1}

for patient_id, name in PATIENTS.items():
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.PatientName, file.Modality, file.InstanceNumber = patient_id, name, "DOC", 1
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(files / f"{name}.dcm", enforce_file_format=True)

table = join_tree(files)
as_read = set(table.PatientID)
table = normalize_identifiers(table).sort_values("PatientName")
print("dicom-csv", version("dicom-csv"))
for name, patient_id in zip(table.PatientName, table.PatientID):
    print(f"{name}: {next(key for key, value in PATIENTS.items() if value == name)} -> {patient_id}")
grouped = aggregate_images(table, by=["PatientID"])
for row in grouped.itertuples():
    print(f"aggregate_images: {row.PatientID}, files: {row.SlicesCount}, name: {row.PatientName}")
counts = dict(zip(grouped.PatientID, grouped.SlicesCount))
named = set(grouped.PatientName.dropna())
sys.exit(not (as_read == set(PATIENTS) and counts == MERGED and named == {"Irwin^Zoe"}))
END
