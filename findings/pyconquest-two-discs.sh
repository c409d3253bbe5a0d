#!/bin/sh
# pyconquest, told to delete a patient's old CT, deletes the new one's files: those of two discs have equal names, and one of each is left.
#
# store_dicom_files_from_directory() (0.1.12) copies files into a folder for each patient, and keeps their names. Hospitals' discs all
# name them alike (IM0001, IM0002), and so do many exports, folder by folder: of the same name the last file is left, while the database
# lists every image as stored, two with one file. With remove_after_store=True the first is nowhere then. What is asked for by one
# series (copy_dicom_files_to_dest, get_list_of_filenames, send_dicom) gives images of the other. delete_series(..., delete_files=True)
# deletes them, and the rows of both. It logs nothing and returns 1. sopinstance_as_filename=True keeps all files; it is off by default.
#
# Needs python3 (3.9 or newer) and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyconquest==0.1.12 pydicom==3.0.2 pynetdicom==3.0.4 numpy==2.2.6 \
    'setuptools<81' 2>"$folder/log"

cd "$folder"
HOME="$folder" venv/bin/python - <<'END'
import importlib.metadata, sys
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pyconquest import pyconquest

print("pyconquest", importlib.metadata.version("pyconquest"))
SERIES = {"2019": generate_uid(), "2025": generate_uid()}
for year, series in SERIES.items():
    study = generate_uid()
    for number in (1, 2):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
        file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID, file.PatientName = study, series, "P-1", "Adams"
        file.StudyDate, file.Modality, file.InstanceNumber = year + "0301", "CT", number
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = Path("discs", year, f"IM000{number}.dcm")
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save_as(path, enforce_file_format=True)


def files(folder):
    return sorted(str(path) + ": " + dcmread(path).StudyDate[:4] for path in Path(folder).rglob("*.dcm"))


def rows():
    return {year: len(archive.execute_db_query(f"select * from dicomimages where SeriesInst='{uid}'")) for year, uid in SERIES.items()}


archive = pyconquest()
archive.create_standard_dicom_tables()
answers = [archive.store_dicom_files_from_directory("discs/" + year, remove_after_store=True) for year in SERIES]
stored = files("data"), rows(), files("discs")
print("the discs of 2019 and 2025 stored:", answers, "- files:", stored[0], "- images in the database:", stored[1], "- left on the discs:", stored[2])
archive.copy_dicom_files_to_dest(seriesuid=SERIES["2019"], destination="copied")
print("the series of 2019 copied:", files("copied"))
archive.delete_series(SERIES["2019"], delete_files=True)
print("the series of 2019 deleted - files:", files("data"), "- images in the database:", rows())
right = answers == [1, 1] and stored == (["data/P-1/IM0001.dcm: 2025", "data/P-1/IM0002.dcm: 2025"], {"2019": 2, "2025": 2}, [])
sys.exit(not (right and files("copied") == ["copied/IM0001.dcm: 2025", "copied/IM0002.dcm: 2025"] and files("data") == []
              and rows() == {"2019": 0, "2025": 0}))
END
