#!/bin/sh
# dicomaster, which anonymizes, makes a patient of each file: three images of P-1 have three new IDs. A baby of 2005 is as old as it would be today.
#
# The program (0.9.3.post1) writes what DICOM files say to JSON, CSV or FHIR, and puts pseudonyms in the place of names and IDs with
# --anonymize. Each value of each file gets a salt of its own by chance, so that no two files of one patient, or of one study, have the same
# ID or accession number. --anonymize-salt, which stops this, is for "consistent pseudonyms across runs" by the README; that without it
# they differ within one run, too, it does not say. Where a file has no Patient's Age, it is counted from the birth date to the day on
# which the program runs, not to the study's. In FHIR the image has the study's UID, and its series is number 1, always. Nothing is said
# of any of this; the exit code is 0.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicomaster==0.9.3.post1 pydicom==3.0.2 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import datetime, importlib.metadata, json, subprocess, sys
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

study, series, born = generate_uid(), generate_uid(), datetime.date(2005, 3, 1)
Path("images").mkdir()
for number in (1, 2, 3):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.StudyDate, file.StudyTime = study, series, "20050901", "101500"
    file.PatientID, file.PatientName, file.PatientBirthDate, file.PatientSex = "P-1", "Adams^Mary", born.strftime("%Y%m%d"), "F"
    file.AccessionNumber, file.Modality, file.SeriesNumber, file.InstanceNumber = "ACC-7", "CR", 4, number
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(f"images/{number}.dcm", enforce_file_format=True)


def dicomaster(output, *options):
    command = [Path(sys.executable).with_name("dicomaster"), "images", "--batch", "--no-banner", "-q", "-o", "json,fhir",
               "--output-dir", output, *options]
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    print("dicomaster images --batch", *options, "- exit code", ran.returncode, ran.stdout.strip(), ran.stderr.strip())
    return ran.returncode, [json.loads(path.read_text()) for path in sorted(Path(output).glob("*.json"))]


print("dicomaster", importlib.metadata.version("dicomaster"), "- three images of P-1, accession number ACC-7, of a baby of six months")
code, written = dicomaster("anonymized", "--anonymize")
rows = [row for row in written if "resourceType" not in row]
ids = {key: sorted({row[key] for row in rows}) for key in ("patient_id", "patient_name", "accession_number")}
for key, values in ids.items():
    print(f"  {key}:", *values)
code_of_plain, written = dicomaster("plain")
ages = {row["patient_age"] for row in written if "resourceType" not in row}
today = (datetime.datetime.now() - datetime.datetime(born.year, born.month, born.day)).days // 365
print("  the baby's age:", *ages)
found = {(image["uid"] == study, each["number"]) for row in written if "resourceType" in row
         for each in row["series"] for image in each["instance"]}
print("  FHIR (the image has the study's UID, number of the series):", *found)
right = code == code_of_plain == 0 and len(rows) == 3 and all(len(values) == 3 for values in ids.values())
sys.exit(not (right and ages == {f"{today}Y"} and found == {(True, 1)}))
END
