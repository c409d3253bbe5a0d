#!/bin/sh
# deid moves January 2012 by ten days to December 2001, and the year 1998 to a day that depends on when the program runs.
#
# A DICOM date and time (VR DT) may end after the year, the month or the hour (PS3.5, 6.2). JITTER, deid's action that moves dates
# so that the days between them stay, gives the value to a parser that guesses forms: 201201 is read as 20 December 2001 there,
# and 1998 as today's day in that year. What is written looks exact, down to the microsecond. Of other months (202601) and hours
# (2026010510) the parser makes nothing, which is an error. Full dates are right; the days between them and these are wrong by
# up to many years.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check deid==0.4.13 pydicom==3.0.2 2>"$folder/log"
cat >"$folder/recipe" <<'END'
FORMAT dicom

%header

JITTER AcquisitionDateTime 10
JITTER StudyDate 10
END

MPLCONFIGDIR="$folder" "$folder/venv/bin/python" -W ignore - "$folder" <<'END' 2>"$folder/log"
import sys
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from deid.config import DeidRecipe
from deid.dicom import replace_identifiers
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

folder = Path(sys.argv[1])

def moved(value):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.StudyDate, file.AcquisitionDateTime = "P-1", "20120115", value
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / "file.dcm"
    file.save_as(path, enforce_file_format=True)
    try:
        new = replace_identifiers(dicom_files=[str(path)], deid=DeidRecipe(str(folder / "recipe")), save=False)[0]
    except ValueError:
        return "error", "error"
    return new.StudyDate, str(new.AcquisitionDateTime)

def in_year(year):
    today = date.today()
    return (date(year, today.month, min(today.day, 28) if today.month == 2 else today.day) + timedelta(10)).strftime("%Y%m%d")

days = {in_year(1998)}
rows = {value: moved(value) for value in ("20120115101112", "201201151011", "201201", "1998", "202601", "2026010510")}
days.add(in_year(1998))  # midnight may have passed
print("deid", version("deid"), "- JITTER by 10 days; the study's date is 20120115")
for value, (study, new) in rows.items():
    print(f"AcquisitionDateTime {value} -> {new}, study -> {study}")
right = rows["20120115101112"] == ("20120125", "20120125101112.000000")
right &= rows["201201151011"] == ("20120125", "20120125101100.000000")
right &= rows["201201"] == ("20120125", "20011230000000.000000")
right &= rows["1998"][0] == "20120125" and rows["1998"][1] in {day + "000000.000000" for day in days}
right &= rows["202601"] == rows["2026010510"] == ("error", "error")
sys.exit(not right)
END
