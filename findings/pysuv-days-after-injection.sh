#!/bin/sh
# pysuv takes an antibody scan of Friday, of an injection on Monday, for one an hour later: the uptake is less than half of the true one.
#
# The package (0.1.0) computes the standardized uptake value of PET images; the dose is reduced by what has decayed between injection and scan.
# Of the injection it reads the time of the day alone (Radiopharmaceutical Start Time), and adds a day at most. With zirconium-89, copper-64 or
# iodine-124 patients are scanned days after; the file has the day too (Radiopharmaceutical Start DateTime; PS3.3, C.8.9.2), and each image
# its own date. Monday 9:00 to Friday 10:00 is "Elapsed time: 60.0 min". Where the true uptake is 5 the result is 2.1. The longer the
# patient has waited, the smaller it is: a tumour that did not change seems to fade from scan to scan. There is no warning.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pysuv==0.1.0 pydicom==3.0.2 numpy==2.2.6 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

"$folder/venv/bin/python" -W error - <<'END'
import importlib.metadata, sys
from datetime import datetime, timedelta
import numpy
import pysuv
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

HALF_LIFE, DOSE, WEIGHT = 78.41 * 3600, 37e6, 70  # zirconium-89; Bq; kg
INJECTION = datetime(2026, 1, 5, 9)


def scan(after, uptake):
    """A PET image of a tumour whose uptake value is known."""
    start = INJECTION + after
    injection = Dataset()
    injection.RadiopharmaceuticalStartTime = INJECTION.strftime("%H%M%S")
    injection.RadiopharmaceuticalStartDateTime = INJECTION.strftime("%Y%m%d%H%M%S")
    injection.RadionuclideTotalDose, injection.RadionuclideHalfLife = DOSE, round(HALF_LIFE, 2)
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = PositronEmissionTomographyImageStorage, generate_uid()
    file.Manufacturer, file.Modality, file.PatientWeight = "SIEMENS", "PT", WEIGHT
    file.SeriesDate = file.AcquisitionDate = start.strftime("%Y%m%d")
    file.SeriesTime = file.AcquisitionTime = start.strftime("%H%M%S")
    file.Units, file.DecayCorrection, file.CorrectedImage, file.ImageType = "BQML", "START", ["DECY", "ATTN"], ["ORIGINAL", "PRIMARY"]
    file.RadiopharmaceuticalInformationSequence = [injection]
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 2, 2, 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    left = DOSE * 0.5 ** (after.total_seconds() / HALF_LIFE)
    file.RescaleSlope, file.RescaleIntercept = float(f"{uptake * left / (WEIGHT * 1000) / 1000:.9g}"), 0
    file.PixelData = numpy.full((2, 2), 1000, "<u2").tobytes()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return file


print("pysuv", importlib.metadata.version("pysuv"), "- zirconium-89, true uptake 5")
seen = []
for after in (timedelta(hours=1), timedelta(days=2, hours=1), timedelta(days=4, hours=1), timedelta(days=6, hours=1)):
    image = scan(after, 5)
    elapsed = next(line.strip() for line in str(pysuv.get_suv_parameters(image)).splitlines() if "Elapsed" in line)
    seen.append((round(float(pysuv.compute_suv(image).max()), 1), elapsed))
    print(" ", after, "after the injection:", *seen[-1])
sys.exit(seen != [(value, "Elapsed time: 60.0 min") for value in (5.0, 3.3, 2.1, 1.4)])
END
