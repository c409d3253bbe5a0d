#!/bin/sh
# pdf2dcm writes a report over the image from which it takes the patient, if both have one name: A-1.pdf and A-1.dcm leave no image.
#
# The package (0.7.2) makes a DICOM file of a PDF; a "template DICOM" gives it the patient and the study. The new file lies beside the PDF
# and has its name. Whoever keeps a report beside its image, both named after the accession number, loses the image: the file is
# replaced, without a question, a warning or a copy, and the call returns its path as a success. So is any other file of that name.
# What it writes has no Series Instance UID, which each DICOM object has (PS3.3, C.7.3.1: type 1). The patient's ID and name are written
# in Latin 1, whatever the template says: of two Japanese patients both become "??", with one ID, and that alone gives a warning.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pdf2dcm==0.7.2 pydicom==3.0.2 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import sys, warnings
from importlib.metadata import version
from pathlib import Path
from pdf2dcm import Pdf2EncapsDCM
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

folder = Path(sys.argv[1])

def image(path, patient_id, name):
    file = Dataset()
    file.SpecificCharacterSet = "ISO_IR 192"
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.PatientName, file.PatientBirthDate, file.PatientSex = patient_id, name, "19700102", "F"
    file.Rows = file.Columns = 2
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.PixelRepresentation, file.SamplesPerPixel, file.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    file.PixelData = bytes(8)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return file.SOPInstanceUID

def report(path):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
                     b"trailer<</Root 1 0 R>>\n%%EOF\n")
    return path

print("pdf2dcm", version("pdf2dcm"))
taken = folder / "clinic/A-1.dcm"
before = image(taken, "P-1", "Adams^Mary")
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    written = Pdf2EncapsDCM().run(str(report(folder / "clinic/A-1.pdf")), path_template_dcm=str(taken))
left = [dcmread(path) for path in folder.glob("clinic/*.dcm")]
print("an image, A-1.dcm, and its report, A-1.pdf - returned:", *(path.name for path in written), "- warnings:", len(said), end=" ")
print("- DICOM files left:", *(file.SOPClassUID.name for file in left), "- Series Instance UID:", left[0].get("SeriesInstanceUID"))
right = written == [taken] and len(left) == 1 and left[0].SOPClassUID == EncapsulatedPDFStorage and left[0].SOPInstanceUID != before
right &= "SeriesInstanceUID" not in left[0] and not said

found = []
for number, (patient_id, name) in enumerate((("\u5c71\u7530", "\u5c71\u7530^\u592a\u90ce"), ("\u4f50\u85e4", "\u4f50\u85e4^\u82b1\u5b50"))):
    template = folder / f"{number}/image.dcm"
    image(template, patient_id, name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        [path] = Pdf2EncapsDCM().run(str(report(folder / f"{number}/report.pdf")), path_template_dcm=str(template))
    file = dcmread(path)
    found.append((str(file.PatientID), str(file.PatientName), bool(said)))
    print(f"patient {patient_id}, {name} - in the report: {file.PatientID}, {file.PatientName}")
sys.exit(not (right and found == [("??", "??^??", True)] * 2))
END
