#!/bin/sh
# dicomindex stores a study of 10:30 as one of 10:03, and leaves out an image whose study has just the hour.
#
# The program (0.3.1) reads folders of DICOM files into an SQLite database, for "sanitizing legacy archives". A DICOM time may end behind the
# hours or the minutes (PS3.5, TM: "1030" is 10:30). It adds ".0" and parses hours, minutes and seconds, and takes single digits where there
# are too few: 10 h 3 min 0 s. 23:45 becomes 23:04:05, and 09:05 becomes 09:00:05. There is no error.
# A time of two digits is an error to it: the file is left out and counted as failed, and the exit code is
# 0. The faster index (one file of each folder) leaves out what lies in the named folder itself.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicomindex==0.3.1 pydicom==2.4.5 sqlalchemy==2.1.9 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import re, sqlite3, subprocess, sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


def image(path, patient, time):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.PatientName, file.Modality = patient, "Adams^Mary", "OT"
    file.StudyDate, file.StudyTime = "20260105", time
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID, file.file_meta.MediaStorageSOPInstanceUID = file.SOPClassUID, file.SOPInstanceUID
    file.is_little_endian, file.is_implicit_VR = True, False
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, write_like_original=False)


def index(command, folder):
    program = Path(sys.executable).with_name("dicomindex")
    ran = subprocess.run([program, command, f"{folder}-{command}.sql", folder], capture_output=True, text=True)
    with closing(sqlite3.connect(f"{folder}-{command}.sql")) as database:
        times = dict(database.execute('SELECT "PatientID", "StudyTime" FROM study'))
    return {patient: time[:8] for patient, time in times.items()}, ran.returncode, re.findall(r"Visited \d.*", ran.stderr)[-1]


print("dicomindex", version("dicomindex"))
TIMES = {"whole": "103000", "minutes": "1030", "evening": "2345", "morning": "0905", "hour": "10"}
for patient, time in TIMES.items():
    image(f"clinic/{patient}/1.dcm", patient, time)
stored, code, words = index("index_full", "clinic")
for patient, time in TIMES.items():
    print(f"Study Time {time!r}:", stored.get(patient, "no study at all"))
print(f"exit code {code}: {words}")

image("disc/1.dcm", "outside", "103000")
image("disc/b/1.dcm", "inside", "103000")
faster, faster_code, faster_words = index("index_per_folder", "disc")
print("faster index of a folder with one patient in it and one in a folder of it:", *faster, f"- exit code {faster_code}")
sys.exit(not (
    stored == {"whole": "10:30:00", "minutes": "10:03:00", "evening": "23:04:05", "morning": "09:00:05"}
    and code == 0 and words.endswith("0/0/1)") and list(faster) == ["inside"] and faster_code == 0
))
END
