#!/bin/sh
# nii2dcm puts a volume beside the patient's own images, in the same study and frame of reference, and a sagittal one upside down.
#
# The program (0.1.6) converts a NIfTI volume to DICOM "to store your new DICOM dataset alongside your original DICOM Study": with a
# reference file it takes patient, study and frame of reference from there. NIfTI counts to the patient's right and front, DICOM to the
# left and back: the first two coordinates of everything change their sign, the third does not. It changes none of a position, and all
# three of the directions; and it takes each slice's position from the slice before. What lies 60 mm left of the middle is written 120 mm
# right of it, and in a sagittal or coronal volume above is below. Viewers that show both series with one pointer show another
# place. Values become whole numbers from 0 on: an anisotropy of 0.87 is 0, and -80 is another number.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check nii2dcm==0.1.6 nibabel==5.0.0 pydicom==2.3.0 numpy==1.23.2 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import subprocess, sys
from importlib.metadata import version
from pathlib import Path
import nibabel, numpy
from pydicom import dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

SIZE, FINDING = (40, 50, 30), (30, 45, 20)
original = FileDataset("original.dcm", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
original.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
original.file_meta.MediaStorageSOPClassUID = original.SOPClassUID = MRImageStorage
original.file_meta.MediaStorageSOPInstanceUID = original.SOPInstanceUID = generate_uid()
original.PatientID, original.PatientName, original.Modality = "P-1", "Adams^Mary", "MR"
original.StudyInstanceUID, original.SeriesInstanceUID, original.FrameOfReferenceUID = generate_uid(), generate_uid(), generate_uid()
original.is_little_endian, original.is_implicit_VR = True, False
original.save_as("original.dcm", write_like_original=False)


def convert(name, directions, corner, values, kind=numpy.int16):
    """Converts a volume, and returns where the largest value lies in DICOM's coordinates: as it is, and as the files say."""
    affine = numpy.eye(4)
    affine[:3, :3], affine[:3, 3] = numpy.transpose(directions), corner
    volume = numpy.zeros(SIZE, kind)
    volume[FINDING] = values[0]
    volume[0, 0, 0] = values[1]
    image = nibabel.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, f"{name}.nii.gz")
    Path(name).mkdir()
    command = [Path(sys.executable).with_name("nii2dcm"), f"{name}.nii.gz", name, "-d", "MR", "-r", "original.dcm"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    warnings = [line for line in ran.stdout.splitlines() if "arning" in line and "could not transfer" not in line]
    print(f"{name}: warnings about the volume {warnings}, on standard error {ran.stderr!r}")
    right, front, up, _ = affine @ [*FINDING, 1]
    files = [dcmread(path) for path in sorted(Path(name).iterdir())]
    file = files[FINDING[2]]
    row, column = FINDING[:2]
    first, second = numpy.array(file.ImageOrientationPatient[:3], float), numpy.array(file.ImageOrientationPatient[3:], float)
    pixels = file.pixel_array
    assert pixels.shape == SIZE[:2] and (values[0] < 1 or pixels[row, column] == values[0])
    spot = numpy.array(file.ImagePositionPatient, float)
    spot += column * float(file.PixelSpacing[1]) * first + row * float(file.PixelSpacing[0]) * second
    same = {(one.StudyInstanceUID, one.FrameOfReferenceUID, one.PatientID) for one in files}
    same = same == {(original.StudyInstanceUID, original.FrameOfReferenceUID, original.PatientID)}
    return (-right, -front, up), tuple(spot), int(pixels[row, column]), int(files[0].pixel_array[0, 0]), same


def show(title, result):
    true, written, *_, same = result
    print(f"   {title}: left, back, up of the middle in mm: is {true}, is written {written}; the original's study and frame: {same}")


print("nii2dcm", version("nii2dcm"))
# In NIfTI the numbers are millimetres to the right, to the front and upwards.
axial = convert("axial", [(1, 0, 0), (0, 1, 0), (0, 0, 1)], (-90, -20, -10), (1000, 5))
show("axial", axial)
sagittal = convert("sagittal", [(0, 1, 0), (0, 0, 1), (1, 0, 0)], (-90, -20, 0), (1000, 5))
show("sagittal", sagittal)
coronal = convert("coronal", [(1, 0, 0), (0, 0, 1), (0, 1, 0)], (-90, -20, 0), (1000, 5))
show("coronal", coronal)
fraction = convert("anisotropy", [(1, 0, 0), (0, 1, 0), (0, 0, 1)], (-90, -20, -10), (0.87, -80.0), numpy.float32)
print("   0.87 and -80 in the volume are in the files:", fraction[2:4])
sys.exit(not (
    axial[0] == (60, -25, 10) and axial[1] == (-120, -65, 9) and axial[4]
    and sagittal[0] == (70, -10, 45) and sagittal[1] == (-71, -50, -45) and sagittal[4]
    and coronal[0] == (60, 0, 45) and coronal[1] == (-120, -1, -45)
    and fraction[2] == 0 and fraction[3] >= 0
))
END
