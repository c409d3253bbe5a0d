#!/bin/sh
# dicomweb-client's DICOMfileClient, asked for the studies of 2026, gives those of all years; asked for the patient P_1*, it gives PX1 too.
#
# DICOMfileClient (0.61.2) answers the same calls as DICOMwebClient does, from a folder of files. A filter that it does not understand is
# left out, with a line in Python's log: what is found are then the studies without that condition. It does not understand a range of
# dates (StudyDate 20260101-20261231, PS3.18, 8.3.4.1), which is what studies are mostly searched by, nor an attribute that it does not
# keep, such as ModalitiesInStudy. What is done with the rows is done to everybody's. In a value with * or ? the characters _ and % stand
# for any others, too, and capitals do not count; with both * and ?, nothing is found.
#
# Needs python3 (3.9 or newer) and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicomweb-client==0.61.2 pydicom==3.0.2 2>"$folder/log"

cd "$folder"
HOME="$folder" venv/bin/python - <<'END'
import importlib.metadata, logging, sys
from pathlib import Path
from dicomweb_client import DICOMfileClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

for number, (patient_id, year) in enumerate((("P_1", 2019), ("PX1", 2025), ("P_10", 2026), ("p_19", 2026))):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = generate_uid(), generate_uid(), patient_id
    file.StudyDate, file.Modality, file.StudyDescription = f"{year}0301", "DOC" if number else "OT", "letter"
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    Path("files").mkdir(exist_ok=True)
    file.save_as(f"files/{number}.dcm", enforce_file_format=True)

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("dicomweb_client").addHandler(handler)
client = DICOMfileClient("file://" + str(Path("files").absolute()))
print("dicomweb-client", importlib.metadata.version("dicomweb-client"))


def found(**filters):
    said.clear()
    rows = sorted(row["00100020"]["Value"][0] for row in client.search_for_studies(search_filters=filters))
    print(filters, "-", rows, *said)
    return rows, len(said)


ALL = ["PX1", "P_1", "P_10", "p_19"]
right = True
for filters, rows, warnings in (
    ({"PatientID": "P_1"}, ["P_1"], 0),
    ({"StudyDate": "20260301"}, ["P_10", "p_19"], 0),
    ({"StudyDate": "20260101-20261231"}, ALL, 1),
    ({"StudyDate": "20260101-"}, ALL, 1),
    ({"PatientID": "P_1", "StudyDate": "20260101-"}, ["P_1"], 1),
    ({"ModalitiesInStudy": "OT"}, ALL, 1),
    ({"PatientID": "P_1*"}, ALL, 0),
    ({"PatientID": "P_1?"}, ["P_10", "p_19"], 0),
    ({"PatientID": "P*_1?"}, [], 0),
):
    right &= found(**filters) == (rows, warnings)
sys.exit(not right)
END
