#!/bin/sh
# ct_mri_dicom_nii_reader makes one volume of the in-phase and the opposed-phase images of a liver, with values that neither has.
#
# The package (0.1.6) sorts the files of a series by position. A series may hold several images of each position: echoes, phases of the
# heart, times after an injection. They are read as one stack with twice as many slices at less than half the distance, and this is sampled
# anew, to 1 mm. Six slices of 20 (opposed phase) and six of 100 (in phase) come as one volume that goes up and down: 20, 68, 73, 25,
# 84 and so on, which is in no image. The difference between the two is what tells of fat in the liver. Read from folders of their own, they
# are 20 and 100. The list of series has one, with twelve slices. The package says nothing; ITK, which it reads with, logs a warning of "non uniform
# sampling or missing slices", though none is missing.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check ct-mri-dicom-nii-reader==0.1.6 pydicom==3.0.2 numpy==2.4.6 \
    pillow==13.0.0 simpleitk==2.5.7 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - 2>"$folder/log" <<'END' || { tail -n 3 "$folder/log"; exit 1; }
import struct, sys
from importlib.metadata import version
from pathlib import Path
from ct_mri_dicom_nii_reader import BodyDataLoaderManager
from ct_mri_dicom_nii_reader.body_data.body_data_imp.dicom_to_hu_lps import list_dicom_series
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

study, series, reference = generate_uid(), generate_uid(), generate_uid()
ECHOES = {1: ("OUT", 2.2, 20), 2: ("IN", 4.4, 100)}


def image(folder, number, echo, position):
    phase, time, value = ECHOES[echo]
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = study, series, reference
    file.PatientID, file.PatientName, file.Modality, file.InstanceNumber = "P-1", "Adams^Mary", "MR", number
    file.ImageType, file.EchoNumbers, file.EchoTime = ["ORIGINAL", "PRIMARY", phase + "_PHASE"], echo, time
    file.ImageOrientationPatient, file.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 3 * position]
    file.PixelSpacing, file.SliceThickness = [3, 3], 3
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 4, 4, 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.PixelData = struct.pack("<16H", *[value] * 16)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    Path(folder).mkdir(exist_ok=True)
    file.save_as(f"{folder}/{number:02}.dcm", enforce_file_format=True)


def loaded(title, folder, echoes):
    for number, (echo, position) in enumerate(((echo, position) for echo in echoes for position in range(6)), 1):
        image(folder, number, echo, position)
    body = BodyDataLoaderManager().load_file(f"{folder}/01.dcm")
    size = body.get_size()
    values = [round(float(body.get_pos(1, 1, slice)), 1) for slice in range(size[2])]
    listed = [one["series_depth"] for one in list_dicom_series(folder)]
    print(f"{title}: series listed, slices of each: {listed}; volume {tuple(size)} of {body.get_mmpd()} mm: {values}")
    return listed, values


print("ct-mri-dicom-nii-reader", version("ct-mri-dicom-nii-reader"))
opposed, within, both = (loaded(*one) for one in (("opposed phase alone", "opposed", [1]), ("in phase alone", "within", [2]),
                                                  ("both echoes, as one series", "both", [1, 2])))
right = opposed == ([6], [20.0] * 18) and within == ([6], [100.0] * 18)
mixed = [value for value in both[1] if 20 < value < 100]
sys.exit(not (right and both[0] == [12] and len(mixed) == 14))
END
