#!/bin/sh
# spydcmtk -a leaves the patient's name and ID in each image whose hospital is given by a code, and says "COMPLETE".
#
# The program (1.2.29) sorts DICOM files into folders; -a and -aid give all patients a new name and ID. It goes through a file's attributes in
# their order, and writes "anonymous" to each whose name has "Institution" in it. Institution Code Sequence (0008,0082; PS3.3, C.7.5.1) cannot
# be a text: that raises an error, which is dropped, and the file's other attributes, the names of physicians and of the patient among them,
# stay as they were, also in the folder's name. anonymiseInPlace() of the package moves a folder aside, writes each file to a place made of date and
# numbers, and deletes the old folder. Patients of one day have equal numbers: of five images three are left, and a PDF beside them is gone.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check spydcmtk==1.2.29 pydicom==3.0.2 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import importlib.metadata, subprocess, sys
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from spydcmtk import spydcm


def write(place, patient, name, images, coded=False):
    study, series = generate_uid(), generate_uid()
    Path(place).mkdir(parents=True)
    for number in range(1, images + 1):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID, file.StudyInstanceUID, file.SeriesInstanceUID = MRImageStorage, generate_uid(), study, series
        file.PatientID, file.PatientName, file.ReferringPhysicianName, file.Modality = patient, name, "Carter^Ann", "MR"
        file.StudyDate, file.StudyID, file.SeriesNumber, file.SeriesDescription = "20260105", "", 3, "t1"
        file.InstanceNumber, file.InstitutionName = number, "City Hospital"
        if coded:
            hospital = Dataset()
            hospital.CodeValue, hospital.CodingSchemeDesignator, hospital.CodeMeaning = "H1", "99LOCAL", "City Hospital"
            file.InstitutionCodeSequence = [hospital]
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.save_as(f"{place}/{number}.dcm", enforce_file_format=True)


def read(root):
    return [(dcmread(path), path) for path in sorted(Path(root).rglob("*.dcm"))]


print("spydcmtk", importlib.metadata.version("spydcmtk"))
write("in/adams", "P-1", "Adams^Mary", 2)
write("in/baker", "P-2", "Baker^John", 3, coded=True)
command = [Path(sys.executable).with_name("spydcmtk"), "-i", "in", "-o", "out", "-a", "anon", "-aid", "A-1", "-QUIET"]
ran = subprocess.run(command, capture_output=True, text=True)
print(*command[1:], "- exit code", ran.returncode, "-", (ran.stdout + ran.stderr).strip().rsplit(" ", 1)[-1])
seen = []
for file, path in read("out"):
    seen.append((str(file.PatientName), file.PatientID, str(file.ReferringPhysicianName)))
    print("  ", path, *seen[-1])

write("place/adams", "P-1", "Adams^Mary", 2)
write("place/baker", "P-2", "Baker^John", 3)
Path("place/consent.pdf").write_bytes(b"%PDF-1.4")
spydcm.anonymiseInPlace("place", QUIET=True)
left = [str(path) for path in sorted(Path("place").rglob("*")) if path.is_file()]
print("anonymiseInPlace() of five images and a PDF leaves:", *left)
sys.exit(not (
    ran.returncode == 0 and "COMPLETE" in ran.stdout + ran.stderr
    and sorted(seen) == [("Baker^John", "P-2", "Carter^Ann")] * 3 + [("anon", "A-1", "anonymous")] * 2
    and [name.rsplit("-", 1)[1] for name in left] == ["00001.dcm", "00002.dcm", "00003.dcm"] and not Path("place.TEMP.WORKING").exists()
))
END
