#!/bin/sh
# imperandi puts slices of the portal phase of a CT into the volume of the arterial phase, and so into the NIfTI file made of it.
#
# Its pipeline (0.1.2, with the built-in manifest) divides a series with several volumes by repeated positions: the first image of each position
# goes to the first volume, the second one to the second, in the order of acquisition. But phases of one series need not cover the
# same: here the arterial phase is of the liver (10 slices), the portal phase of the abdomen (14). The four slices that only the portal phase
# has are each the first of their position. So the arterial volume gets 14 slices, the lower four with the portal phase's values, and the
# portal volume loses them. The acquisition number tells the phases apart, and the step before this one goes by it; this step writes over that.
# In the table the volume has both numbers; a line of the log counts one series as "irregular"; both commands end with 0. If both phases
# have 14 slices, each volume has one phase.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check imperandi==0.1.2 dicom2nifti==2.6.2 nibabel==5.4.2 pandas==3.1.1 scipy==1.17.1 \
    numpy==2.4.6 pydicom==3.0.2 PyYAML==6.0.4 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
HOME="$folder" "$folder/venv/bin/python" - <<'END'
import ast, struct, subprocess, sys
from importlib.metadata import version
from pathlib import Path
import nibabel, pandas
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

tool = Path(sys.executable).with_name("imperandi")
VALUES = {"arterial": 150, "portal": 90}


def image(path, shared, number, acquisition, phase, position):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = shared
    file.PatientID, file.PatientName, file.Modality, file.SeriesDescription = "P-1", "Adams^Mary", "CT", "LIVER"
    file.ImageType, file.SeriesNumber, file.InstanceNumber, file.AcquisitionNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 3, number, acquisition
    file.StudyDate = file.SeriesDate = file.AcquisitionDate = "20260105"
    file.StudyTime, file.AcquisitionTime = "101000", {"arterial": "101500", "portal": "101540"}[phase]
    file.ImageOrientationPatient, file.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, -5 * position]
    file.PixelSpacing, file.SliceThickness, file.RescaleIntercept, file.RescaleSlope = [1, 1], 5, -1024, 1
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 8, 8, 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
    file.PixelData = struct.pack("<64h", *[VALUES[phase] + 1024] * 64)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(path / f"{number:02}.dcm", enforce_file_format=True)


def run(*arguments):
    ran = subprocess.run([tool, *arguments], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]


def volumes(name, arterial_slices):
    """Volumes of a CT, from the top down, whose portal phase has 14 slices, and the arterial phase the first ones of these."""
    Path(name).mkdir()
    slices = [("arterial", n) for n in range(arterial_slices)] + [("portal", n) for n in range(14)]
    shared = generate_uid(), generate_uid(), generate_uid()
    for number, (phase, position) in enumerate(slices, 1):
        image(Path(name), shared, number, 1 if phase == "arterial" else 2, phase, position)
    out = Path(name + "-out")
    run("ingest", name, out, "--id_source", "tags", "--manifest", "generic", "--num_workers", "1")
    run("convert", out / "dicom_index_clean.csv", out / "nifti", "--num_workers", "1", "--manifest", "generic")
    found = []
    for _, row in pandas.read_csv(out / "dicom_index_clean.csv").sort_values("volume_order_in_series").iterrows():
        numbers = ast.literal_eval(str(row["AcquisitionNumber"]))
        found.append((int(row["n_files"]), numbers))
    pictures = []
    for path in sorted(out.rglob("*.nii.gz")):
        data = nibabel.load(path).get_fdata()
        pictures.append([int(value) for value in data[4, 4, :]])
    pictures.sort(key=max, reverse=True)
    print(f"{name}: slices and acquisition numbers of each volume: {found}; values in the NIfTI files, slice by slice: {pictures}")
    return found, pictures


print("imperandi", version("imperandi"))
same = volumes("same-coverage", 14)
longer = volumes("portal-phase-longer", 10)
right = same == ([(14, 1), (14, 2)], [[150] * 14, [90] * 14])
sys.exit(not (right and longer == ([(14, [1, 2]), (10, 2)], [[90] * 4 + [150] * 10, [90] * 10])))
END
