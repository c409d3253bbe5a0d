#!/bin/sh
# process-dcm files the eye photographs of all patients under the first: what has no Frame of Reference UID is one group, and they have none.
#
# The program (1.0.0) writes the images of a folder of eye examinations (DICOM) as PNG, in one folder for each group, with a metadata.json,
# and puts a number in the place of each Patient ID. The README says "one folder per acquisition", and names photographs among what it is for.
# It groups files by their Frame of Reference UID (by the time only with --group). A photograph of the eye has none: its IOD (PS3.3,
# Ophthalmic Photography 8 Bit Image) has no such module. So the photographs of a whole folder are one group; it gets the number and
# the date of the first file. In metadata.json the birth date and the sex are those of the last patient, beside a second
# number that is in no list; study_2_patient.csv, by which numbers are to be led back, has one patient of three. With IDs kept (-k p) the
# folder has the first patient's ID, and metadata.json the last one's. The program says "Processed 1 DICOM folders"; its exit code is 0.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check process-dcm==1.0.0 pydicom==3.0.2 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import csv, importlib.metadata, json, subprocess, sys
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, OphthalmicPhotography8BitImageStorage, generate_uid

patients = {"A-1": ("19310405", "F", "R"), "B-2": ("19880102", "M", "L"), "C-3": ("20150607", "F", "R")}
uids = {}


def photograph(patient_id, day):
    """A fundus photograph of 8 x 8 pixels, in the patient's own folder."""
    born, sex, side = patients[patient_id]
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = OphthalmicPhotography8BitImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.SynchronizationFrameOfReferenceUID = generate_uid()
    file.PatientID, file.PatientBirthDate, file.PatientSex, file.ImageLaterality = patient_id, born, sex, side
    file.Modality, file.Manufacturer, file.AcquisitionDateTime = "OP", "TOPCON", f"{day}101500.000000"
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation, file.PlanarConfiguration = 8, 8, 3, "RGB", 0
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = bytes(range(192))
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    uids[file.SOPInstanceUID] = patient_id
    path = Path("eyes", patient_id, f"{day}.dcm")
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def export(output, *options):
    """What lies in each folder: whose images, by their UIDs, and what metadata.json says of the patient."""
    command = [Path(sys.executable).with_name("process-dcm"), "eyes", "-o", output, "-k", "".join(["dg", *options])]
    ran = subprocess.run(command, capture_output=True, text=True)
    said = [line for line in ran.stdout.splitlines() if "Processed" in line]
    print(f"process-dcm eyes -k {command[-1]}: exit code", ran.returncode, "-", *said, ran.stderr.strip()[-300:])
    found = {}
    for path in Path(output).rglob("metadata.json"):
        told = json.loads(path.read_text())
        images = sorted(uids[image["sop_instance_uid"]] for image in told["images"]["images"])
        found[path.parent.name] = (images, *[told["patient"][key] for key in ("patient_key", "date_of_birth", "gender")])
        print(" ", path.parent.name, "- images of", images, "- its metadata.json:", *found[path.parent.name][1:])
    return ran.returncode, said, found


for patient_id, day in (("A-1", "20260105"), ("B-2", "20260206"), ("C-3", "20260307"), ("C-3", "20260308")):
    photograph(patient_id, day)
print("process-dcm", importlib.metadata.version("process-dcm"), "- photographs of", sorted(uids.values()))
code, said, kept = export("kept", "p")
code_of_numbers, _, numbered = export("numbered")
rows = list(csv.reader(open("study_2_patient.csv")))
print("study_2_patient.csv:", rows)

(name, found), = kept.items()
right = code == code_of_numbers == 0 and "Processed 1 DICOM folders" in said[0] and name.startswith("A-1_20260105")
right &= found == (["A-1", "B-2", "C-3", "C-3"], "C-3", "2015-06-07", "F")
(name, found), = numbered.items()
right &= name.startswith(rows[1][0]) and found[1] != rows[1][0]
right &= found[0] == ["A-1", "B-2", "C-3", "C-3"] and [row[1] for row in rows[1:]] == ["A-1"]
sys.exit(not right)
END
