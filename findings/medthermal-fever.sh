#!/bin/sh
# medthermal-dicom stores a fever of 41 degrees as 21 if the range of the image ends at 40, and leaves out the first line of a CSV file.
#
# The package (1.0.4) makes DICOM of the images of thermal cameras, among them for the search for breast cancer. set_thermal_image() takes a
# temperature_range, "Min/max temperature range for scaling", so that the images of many patients have one scale. What lies above it is
# not limited to its end, it begins again at the lower end: with a range from 20 to 40, 41.0 is 21.0 in the file, the warmest spot
# is the coldest one, and 19.5 is 39.5. The file's own scale (Rescale Slope) gives these values to each viewer. The command
# medthermal-dicom-viewer create takes the first line of a CSV file for a heading, also if it has temperatures, as in the README, which reads
# such a file by numpy.loadtxt(): of an image with 4 lines there are 3, and the warmest spot is gone if it was in the first. No
# error and no warning comes; the exit code is 0.
#
# Needs amd64, python3 and its venv; installs OpenCV, SciPy and others. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check medthermal-dicom==1.0.4 pydicom==2.4.4 2>"$folder/log"

cd "$folder"
MPLCONFIGDIR="$folder" "$folder/venv/bin/python" - <<'END' 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
import subprocess, sys
from importlib.metadata import version
from pathlib import Path
import numpy
from pydicom import dcmread
from medthermal_dicom import MedThermalDicom

print("medthermal-dicom", version("medthermal-dicom"), "- numpy", numpy.__version__)


def temperatures(path):
    file = dcmread(path)
    return numpy.round(file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept), 1).tolist()


measured = numpy.array([[36.5, 39.9, 41.0], [19.5, 30.0, 36.8]])
image = MedThermalDicom()
image.set_thermal_image(measured, temperature_range=(20.0, 40.0))
image.create_standard_thermal_dicom(patient_name="Adams^Mary", patient_id="P-1", study_description="breast")
image.save_dicom("fever.dcm")
stored = temperatures("fever.dcm")
print("measured", measured.tolist(), "- in the file", stored)

lines = [[41.0, 36.5, 36.4], [36.1, 36.2, 36.3], [35.1, 35.2, 35.3], [34.1, 34.2, 34.3]]
Path("image.csv").write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
ran = subprocess.run([Path(sys.executable).with_name("medthermal-dicom-viewer"), "create", "image.csv", "csv.dcm", "--patient-id", "P-1"],
                     capture_output=True, text=True)
created = temperatures("csv.dcm")
print("lines of the CSV file", lines, "- in the file", created, "- exit code", ran.returncode)
sys.exit(not (stored == [[36.5, 39.9, 21.0], [39.5, 30.0, 36.8]] and ran.returncode == 0 and len(created) == 3))
END
