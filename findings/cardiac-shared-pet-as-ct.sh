#!/bin/sh
# cardiac-shared lists the PET of a PET/CT among the CT series, and says of the CT, if it is one multi-frame file, that it is no image.
#
# Its inventory (1.1.0) is to find, per patient, the CT series (ct_series: "usable CT series only") and whether there is a thin and a
# thick one. The modality is read and shown, and decides nothing: a PET series with slices of 5 mm is a thick CT series, so a patient who
# has one CT is a pair. Files are counted as images: an enhanced CT of 60 frames is one, which is too few, and its role is non_image, the one
# that is meant for dose reports. Coronal views computed after the examination (DERIVED\SECONDARY, PS3.3 C.7.6.1.1.2) are called localizers.
# Of a patient with a multi-frame CT and a PET, the PET is what is taken. All files count as read.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check cardiac-shared==1.1.0 pydicom==3.0.2 numpy==2.4.6 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END'
import sys
from importlib.metadata import version
from pathlib import Path
from cardiac_shared.io.dicom_series_inventory import scan_patient_folder
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid


def item(**values):
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def stored(path, storage, modality, series, image_type, number, **more):
    file = item(SOPClassUID=storage, SOPInstanceUID=generate_uid(), StudyInstanceUID=study, SeriesInstanceUID=series, Modality=modality,
                PatientID="P-1", PatientName="Adams^Mary", ImageType=image_type, InstanceNumber=number, FrameOfReferenceUID=frame,
                Rows=2, Columns=2, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=16,
                HighBit=15, PixelRepresentation=0, **more)
    file.PixelData = bytes(8 * int(more.get("NumberOfFrames", 1)))
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.mkdir(parents=True, exist_ok=True)
    file.save_as(path / f"{series}.{number}.dcm", enforce_file_format=True)


def slices(path, storage, modality, description, image_type, thickness, count, orientation=(1, 0, 0, 0, 1, 0), across=2):
    series = generate_uid()
    for number in range(count):
        position = [0, 0, 0]
        position[across] = thickness * number
        stored(path, storage, modality, series, image_type, number + 1, SeriesDescription=description, SliceThickness=thickness,
               PixelSpacing=[1, 1], ImageOrientationPatient=list(orientation), ImagePositionPatient=position)


def multi_frame(path, description, thickness, count):
    frames = [item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, thickness * number])]) for number in range(count)]
    shared = item(PixelMeasuresSequence=[item(PixelSpacing=[1, 1], SliceThickness=thickness)],
                  PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])
    stored(path, EnhancedCTImageStorage, "CT", generate_uid(), ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], 1, SeriesDescription=description,
           NumberOfFrames=count, SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames)


def listed(path):
    found = scan_patient_folder(path)
    taken = [(one.modality, one.description, one.role.value) for one in found.ct_series]
    left = [(one.modality, one.description, one.role.value) for one in found.all_series if not one.is_usable_ct]
    print(f"{path}: files read {found.n_files_read} of {found.n_files_total}; CT series {taken}, the others {left}; a pair: {found.is_paired}")
    return taken, left, found.is_paired


def pet(path):
    slices(path, PositronEmissionTomographyImageStorage, "PT", "PET", ["ORIGINAL", "PRIMARY"], 5, 12)


print("cardiac-shared", version("cardiac-shared"))
study, frame = generate_uid(), generate_uid()
single, enhanced = Path("single-frame"), Path("multi-frame")
slices(single, CTImageStorage, "CT", "axial", ["ORIGINAL", "PRIMARY", "AXIAL"], 1, 60)
slices(single, CTImageStorage, "CT", "coronal", ["DERIVED", "SECONDARY", "REFORMATTED"], 3, 20, (1, 0, 0, 0, 0, -1), 1)
pet(single)
multi_frame(enhanced, "axial", 1, 60)
pet(enhanced)
thin, thick = ("CT", "axial", "thin_slice"), ("PT", "PET", "thick_slice")
right = listed(single) == ([thin, thick], [("CT", "coronal", "localizer")], True)
right &= listed(enhanced) == ([thick], [("CT", "axial", "non_image")], False)
sys.exit(not right)
END
