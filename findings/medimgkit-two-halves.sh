#!/bin/sh
# medimgkit cuts a sagittal series of the right knee in two, and stores one half as the left knee's; a head becomes two, too.
#
# The library (0.18.1) joins the images of a series into one multi-frame file ("Multi-frame Assembly"). In sagittal series it fills in the
# side if none is written, which DICOM allows for a head and, left empty, for a knee (Laterality is of type 2C). If the examination has a
# localizer with an axial plane, as MR examinations have, what lies at a positive x is L and all else is R. The origin of x is the device's, often
# the magnet's centre, where the part is laid that is to be seen. Since the side is among what images are joined by, one series
# gives two files, of two new series: three slices of a right knee are called left. Without the localizer it is one file without a
# side. The documentation of the function names no side.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check medimgkit==0.18.1 pydicom==3.0.2 numpy==2.4.6 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import struct, sys, warnings
from importlib.metadata import version
from pathlib import Path
from medimgkit.dicom_utils import assemble_dicoms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

SAGITTAL, AXIAL, CORONAL = [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


def image(path, number, series, orientation, position, image_type, description, part, study, frame):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = study, series, frame
    file.PatientID, file.PatientName, file.Modality, file.InstanceNumber = "P-1", "Adams^Mary", "MR", number
    file.ImageType, file.SeriesDescription, file.BodyPartExamined = image_type, description, part
    if part == "KNEE":
        file.Laterality = ""
    file.ImageOrientationPatient, file.ImagePositionPatient = orientation, position
    file.PixelSpacing, file.SliceThickness = [1, 1], 5
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 8, 8, 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.PixelData = struct.pack("<64H", *[number] * 64)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return str(path)


def examination(name, part, description):
    """A localizer of three planes, and a sagittal series of six slices that are 5 mm apart around the magnet's centre."""
    shared = (part, generate_uid(), generate_uid())
    series = generate_uid()
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout = [image(Path(name, f"scout-{number}.dcm"), number, series, plane, [0, 0, 0], kind, "localizer", *shared)
             for number, plane in enumerate((SAGITTAL, AXIAL, CORONAL), 1)]
    series = generate_uid()
    slices = [image(Path(name, f"{number}.dcm"), number, series, SAGITTAL, [5 * number - 17.5, -50, 50], ["ORIGINAL", "PRIMARY", "M"],
                    description, *shared) for number in range(1, 7)]
    return scout, slices


def assembled(title, paths, description):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        files = [file for file in assemble_dicoms(paths, progress_bar=False) if file.SeriesDescription == description]
    result = [(int(file.get("NumberOfFrames", 1)), file.get("ImageLaterality") or file.get("Laterality") or "") for file in files]
    print(f"{title}: {len(files)} file(s), slices and side of each: {result}; series: {len({file.SeriesInstanceUID for file in files})};",
          "warnings:", [str(warning.message) for warning in caught if "aterality" in str(warning.message)])
    return sorted(result)


print("medimgkit", version("medimgkit"))
seen = {}
for name, part, description in (("knee", "KNEE", "right knee sagittal"), ("head", "HEAD", "T1 sagittal")):
    scout, slices = examination(name, part, description)
    whole = assembled(f"{description} and localizer", scout + slices, description)
    seen[name] = whole, assembled(f"{description} alone", slices, description)
sys.exit(not all(result == ([(3, "L"), (3, "R")], [(6, "")]) for result in seen.values()))
END
