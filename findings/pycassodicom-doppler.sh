#!/bin/sh
# pycassodicom, which blackens names on ultrasound, takes the colour of the blood flow away: towards and away from the probe are both grey.
#
# blacken_pixels() (0.4.9) sets the top rows of an image to black, where devices write names. Of an image that is stored as
# YBR_FULL_422, as colour Doppler often is, it first takes the brightness alone and writes it three times, as RGB: red and blue, by
# which a physician sees the direction of the flow, become two greys, with nothing that tells them from tissue. The same image stored as RGB
# keeps its colours. The file does not say that anything but the rows has changed: it is still ORIGINAL, PRIMARY. It does say that no
# text is burned in and that the patient's identity is removed, whatever stands below the rows and in its attributes: name and ID stay
# as they were. There is no message. (The package works with pydicom 2; pydicom 3 refuses the pixels as it writes them.)
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pycassodicom==0.4.9 pydicom==2.4.4 numpy==2.4.6 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END' 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
import importlib.metadata, sys
import numpy
from pycassodicom.black_out import blacken_pixels
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixel_data_handlers.util import convert_color_space
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

rgb = numpy.full((2, 120, 80, 3), 60, "u1")
rgb[:, 10:20, 10:20] = 255  # a name
rgb[:, 90:110, 10:20] = (200, 0, 0)  # flow towards the probe
rgb[:, 90:110, 30:40] = (0, 0, 200)  # flow away from it
ybr = convert_color_space(rgb, "RGB", "YBR_FULL")
half = numpy.stack([ybr[:, :, ::2, 0], ybr[:, :, 1::2, 0], ybr[:, :, ::2, 1], ybr[:, :, ::2, 2]], axis=-1)


def blackened(colours, pixels):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.ImageType, file.Modality, file.Manufacturer = ["ORIGINAL", "PRIMARY"], "US", "Philips"
    file.PatientID, file.PatientName, file.DeidentificationMethodCodeSequence = "P1", "Adams^Mary", []
    file.NumberOfFrames, file.Rows, file.Columns, file.SamplesPerPixel = 2, 120, 80, 3
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation, file.PlanarConfiguration = 8, 8, 7, 0, 0
    file.PhotometricInterpretation, file.PixelData = colours, pixels.astype("u1").tobytes()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.is_little_endian, file.is_implicit_VR = True, False
    file.save_as(colours, write_like_original=False)
    blacken_pixels(dcmread(colours)).save_as("after")
    after = dcmread("after")
    image = after.pixel_array[0].tolist()
    places = dict(name=image[15][15], towards=image[100][15], away=image[100][35])
    print(f"stored as {colours}:", places, after.PhotometricInterpretation)
    print("  BurnedInAnnotation:", after.BurnedInAnnotation, "PatientIdentityRemoved:", after.PatientIdentityRemoved, after.PatientName)
    return places, [after.BurnedInAnnotation, after.PatientIdentityRemoved, str(after.PatientName)]


print("pycassodicom", importlib.metadata.version("pycassodicom"))
kept, claims = blackened("RGB", rgb)
lost, same = blackened("YBR_FULL_422", half)
black = kept["name"] == lost["name"] == [0, 0, 0]
grey = all(len(set(lost[flow])) == 1 for flow in ("towards", "away"))
coloured = kept["towards"] == [200, 0, 0] and kept["away"] == [0, 0, 200]
sys.exit(not (black and grey and coloured and claims == same == ["NO", "YES", "Adams^Mary"]))
END
