#!/bin/sh
# dicom2gif loses a nodule in the lung: it lays the window of a CT, which is in Hounsfield units, over the stored values.
#
# The package (1.2.0) makes moving pictures of a series, by default with the window "from DICOM metadata". A window holds for the values
# after Rescale Slope and Intercept (PS3.3, C.11.2.1.2); the package does not rescale. With an intercept of -1024, as CTs have, the lung window
# of -600 and 1500 ends at a stored value of 150, that is -874 HU: the lung (-850 HU), a nodule in it (30 HU) and bone (700 HU) have one grey, white.
# The same picture with values stored as Hounsfield units (intercept 0) shows them apart. Of a radiograph in MONOCHROME1 the least
# value, which is to be white, comes black: a negative. Nothing is said in any case.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicom2gif==1.2.0 pydicom==3.0.2 numpy==2.4.6 pillow==13.0.0 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import struct, sys, warnings
from importlib.metadata import version
from pathlib import Path
from dicom2gif import dicom2gif
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

TISSUES = {"air": -1000, "lung": -850, "nodule": 30, "bone": 700}


def picture(name, stored, signed, storage, modality, photometric, **more):
    """The greys of a picture of two slices, in each of which each tissue has a row of four pixels."""
    Path(name).mkdir()
    study, series = generate_uid(), generate_uid()
    for number in (1, 2):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID, file.StudyInstanceUID, file.SeriesInstanceUID = storage, generate_uid(), study, series
        file.PatientID, file.PatientName, file.Modality, file.InstanceNumber = "P-1", "Adams^Mary", modality, number
        file.AcquisitionDateTime = f"2026010510150{number}.000"
        file.Rows = file.Columns = 4
        file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, photometric, signed
        file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
        for keyword, value in more.items():
            setattr(file, keyword, value)
        file.PixelData = b"".join(struct.pack("<4h", *[value] * 4) for value in stored)
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.save_as(f"{name}/{number}.dcm", enforce_file_format=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dicom2gif(name, format="tiff")
    said = [str(one.message) for one in caught if "indow" in str(one.message)]
    with Image.open(f"{name}/1.tiff") as made:
        greys = [made.getpixel((1, row)) for row in range(4)]
    print(f"{name}: stored values {stored}, greys {greys}; warnings of the window: {said}")
    return greys, said


print("dicom2gif", version("dicom2gif"), "-", TISSUES)
window = {"WindowCenter": -600, "WindowWidth": 1500, "RescaleSlope": 1, "RescaleType": "HU"}
plain, quiet = picture("intercept-0", list(TISSUES.values()), 1, CTImageStorage, "CT", "MONOCHROME2", RescaleIntercept=0, **window)
usual, quiet_too = picture("intercept-1024", [value + 1024 for value in TISSUES.values()], 0, CTImageStorage, "CT", "MONOCHROME2",
                           RescaleIntercept=-1024, **window)
negative, _ = picture("monochrome1", [0, 1000, 2000, 4000], 0, DigitalXRayImageStorageForPresentation, "DX", "MONOCHROME1",
                      PresentationLUTShape="INVERSE", WindowCenter=2000, WindowWidth=4000)
right = plain[0] < plain[1] < plain[2] and plain[2] - plain[1] > 100 and usual == [0, 255, 255, 255]
sys.exit(not (right and not quiet + quiet_too and negative[0] == 0 and negative[3] == 255))
END
