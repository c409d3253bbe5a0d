#!/bin/sh
# medcon writes a CT image as one of nuclear medicine, with the accession number 1, and 1,024 Hounsfield units too bright.
#
# `medcon -c dicom` (0.23.0) converts to DICOM, also what is DICOM. From two images of one series it makes two series, and two
# studies if they are converted a second apart, since the time is part of the new UIDs; no reference to the old ones is kept.
# Every file gets the accession number 1, by which hospitals find the order that an image belongs to. The modality becomes NM,
# the name one family name, the position in the body is gone. The pixels are copied, but what makes Hounsfield units of them
# (Rescale Intercept -1024) is replaced by 0: fat, at -100, is written as 924, which is bone; with -qs these are right. Exit
# code 0, no message.
#
# Needs Debian 12 on amd64 with apt, python3 and its venv. medcon is unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
(. "$here/scripts/_environment" && "$bin/python" -m fm_pipeline.sandbox.programs.debian "$folder/medcon" \
    medcon=0.23.0-gtk3+dfsg-1+deb12u2 libmdc3=0.23.0-gtk3+dfsg-1+deb12u2) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 2>"$folder/log"

LD_LIBRARY_PATH="$folder/medcon/usr/lib/x86_64-linux-gnu" "$folder/venv/bin/python" - "$folder" <<'END'
import struct, subprocess, sys, time
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

folder = Path(sys.argv[1])
program = folder / "medcon/usr/bin/medcon"
print(subprocess.run([program], capture_output=True, text=True).stdout.split("\n")[2])
study, series, frame = (generate_uid() for _ in range(3))

def show(name, file):
    stored = struct.unpack("<h", file.PixelData[:2])[0]
    value = stored * float(file.RescaleSlope) + float(file.RescaleIntercept)
    print(f"{name}: {file.Modality}, {file.PatientID} {file.PatientName}, accession number {file.AccessionNumber}, pixel {value:g},", end=" ")
    print(f"position {file.get('ImagePositionPatient')}, study ...{file.StudyInstanceUID[-34:]}")
    return value

after = []
for number in (1, 2):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID, file.FrameOfReferenceUID = CTImageStorage, generate_uid(), frame
    file.StudyInstanceUID, file.SeriesInstanceUID = study, series
    file.PatientID, file.PatientName, file.PatientBirthDate, file.PatientSex = "P-1", "Adams^Mary", "19700102", "F"
    file.StudyDate, file.StudyTime, file.StudyID, file.AccessionNumber = "20260105", "101112", "77", "A-2026-1"
    file.Modality, file.SeriesNumber, file.InstanceNumber = "CT", 1, number
    file.ImagePositionPatient, file.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    file.PixelSpacing, file.SliceThickness = [1, 1], 1
    file.Rows = file.Columns = 4
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.PixelRepresentation, file.SamplesPerPixel, file.PhotometricInterpretation = 1, 1, "MONOCHROME2"
    file.RescaleIntercept, file.RescaleSlope = -1024, 1
    file.PixelData = struct.pack("<16h", *[924] * 16)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    done = subprocess.run([program, "-f", f"{number}.dcm", "-c", "dicom", "-o", f"new{number}.dcm"], cwd=folder, timeout=60)
    converted = dcmread(folder / f"new{number}.dcm")
    after.append((done.returncode, show(f"{number} before", file), show(f"{number} after ", converted), converted))
    begin = int(time.time())
    while int(time.time()) == begin:  # the next image comes in the next second
        time.sleep(0.05)

right = all((code, before, now) == (0, -100, 924) for code, before, now, _ in after)
for *_, file in after:
    right &= (file.Modality, file.AccessionNumber, str(file.PatientName)) == ("NM", "1", "Adams Mary^^^^")
    right &= "ImagePositionPatient" not in file and "SourceImageSequence" not in file
right &= len({file.StudyInstanceUID for *_, file in after} | {study}) == 3
sys.exit(not right)
END
