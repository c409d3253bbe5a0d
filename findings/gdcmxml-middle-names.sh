#!/bin/sh
# gdcmxml writes each patient's given name as the middle name, and a name whose given name is empty comes back with the middle name in its place.
#
# The program (GDCM 3.0.21, Debian 12) makes XML of DICOM files and DICOM of XML, "in strict compliance with the Native DICOM Model". Behind
# the first ^ of a name it counts one part too many: GivenName holds a space, MiddleName the given name, NamePrefix the middle name, and
# NameSuffix both the prefix and the suffix, joined ("Dr.Jr."). A blank is put before each part. A reader of the XML gets patients without
# given names. What it reads back has lost the parts that were empty, so that "Adams^^Ann" becomes " Adams^ Ann^", a given name. An
# archive that is asked for Adams^Mary does not find what is stored as " Adams^ Mary^". The exit code is 0 each time, and there is no
# message.
#
# Needs Debian 12 on amd64 with apt, python3 and its venv. gdcmxml is unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
(. "$here/scripts/_environment" && "$bin/python" -m fm_pipeline.sandbox.programs.debian "$folder/debian" \
    libgdcm-tools=3.0.21-1) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 2>"$folder/log"

cd "$folder"
LD_LIBRARY_PATH="$folder/debian/usr/lib/x86_64-linux-gnu" venv/bin/python - <<'END'
import re, subprocess, sys
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

PROGRAM = "debian/usr/bin/gdcmxml"
PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


def run(*options):
    ran = subprocess.run([PROGRAM, *options], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0 and not ran.stderr, ran
    return ran.stdout


def there_and_back(name):
    file = Dataset()  # all that PS3.3, A.8.1 asks for of a Secondary Capture Image
    file.SOPClassUID, file.SOPInstanceUID, file.ConversionType = SecondaryCaptureImageStorage, generate_uid(), "WSD"
    file.StudyInstanceUID, file.SeriesInstanceUID, file.Modality = generate_uid(), generate_uid(), "OT"
    file.PatientID, file.PatientName, file.PatientBirthDate, file.PatientSex = "P-1", name, "19700102", "F"
    file.StudyDate, file.StudyTime, file.StudyID, file.AccessionNumber = "20260301", "101500", "1", "A1"
    file.ReferringPhysicianName, file.Manufacturer, file.SeriesNumber, file.InstanceNumber = "Field^Ruth", "Maker", 1, 1
    file.PatientOrientation, file.SamplesPerPixel, file.PhotometricInterpretation = ["L", "F"], 1, "MONOCHROME2"
    file.Rows = file.Columns = 2
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation, file.PixelData = 8, 8, 7, 0, bytes(4)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as("before.dcm", enforce_file_format=True)
    run("-i", "before.dcm", "-o", "middle.xml")
    Path("after.dcm").unlink(missing_ok=True)
    run("-i", "middle.xml", "-o", "after.dcm")
    text = Path("middle.xml").read_bytes().decode("latin-1")  # the XML has a byte 0 in it here and there
    element = text[text.index('"PatientName"'):].split("</DicomAttribute>")[0]
    written = {part: re.sub(r"[\0 ]", "", value) for part, value in re.findall(r"<(\w+)>([^<]*)</\1>", element) if part in PARTS}
    after = dcmread("after.dcm")
    print(f"{name:24} in XML: {written}")
    print(f"{'':24} back: {str(after.PatientName)!r}")
    return written, str(after.PatientName)


print(subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout.split("$")[0].strip())
mary = there_and_back("Adams^Mary")
ann = there_and_back("Adams^Mary^Ann^Dr.^Jr.")
only = there_and_back("Adams^^Ann")
sys.exit(not (
    mary == ({"FamilyName": "Adams", "GivenName": "", "MiddleName": "Mary"}, " Adams^ Mary^")
    and ann[0] == {"FamilyName": "Adams", "GivenName": "", "MiddleName": "Mary", "NamePrefix": "Ann", "NameSuffix": "Dr.Jr."}
    and ann[1] == " Adams^ Mary^ Ann^ Dr.Jr.^" and only[1] == " Adams^ Ann^"
))
END
