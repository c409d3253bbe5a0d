#!/bin/sh
# dafne-dicomUtils keeps one slice of each kind of a multi-frame MR file, and takes the patient's number at an insurer for the Patient ID.
#
# The loader (0.2.1) divides an enhanced MR file by frame type. Each run of frames of one type is put under the type's name, in place of the
# run before it. A file may hold its frames in any order. If the magnitude and the velocity of a measurement of flow take turns,
# slice for slice, one slice of each is left of three, the last one. With all of one type first, all are there. The header of a slice is made
# flat: an element of a nested sequence replaces the one of the same number above it. So the Patient ID and its issuer are those of Other Patient
# IDs Sequence, and the accession number is that of the last of two requests; the clinic's own are in no header. Nothing is said.
# Only the module that reads such files is run: the start of the package asks for a window toolkit.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check --no-deps dafne-dicomUtils==0.2.1 pydicom==3.0.2 numpy==2.4.6 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END'
import importlib.util, struct, sys
from importlib.metadata import distribution
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

package = distribution("dafne-dicomUtils")
spec = importlib.util.spec_from_file_location("multiframe", package.locate_file("dicomUtils/multiframe.py"))
multiframe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(multiframe)


def item(**values):
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def frame(number, kind, position):
    flavor = {"MAGNITUDE": "FLOW_ENCODED", "PHASE": "VELOCITY"}[kind]
    content = item(FrameAcquisitionNumber=number, StackID="1", InStackPositionNumber=position,
                   DimensionIndexValues=[position, 1 if kind == "MAGNITUDE" else 2])
    return item(FrameContentSequence=[content], PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 5 * position])],
                MRImageFrameTypeSequence=[item(FrameType=["ORIGINAL", "PRIMARY", flavor, "NONE"], ComplexImageComponent=kind)])


def written(path, frames):
    file = item(SOPClassUID=EnhancedMRImageStorage, SOPInstanceUID=generate_uid(), StudyInstanceUID=generate_uid(),
                SeriesInstanceUID=generate_uid(), Modality="MR", InstanceNumber=1, AccessionNumber="A-1",
                PatientName="Adams^Mary", PatientID="P-1", IssuerOfPatientID="CLINIC")
    file.OtherPatientIDsSequence = [item(PatientID="77", IssuerOfPatientID="INSURER", TypeOfPatientID="TEXT")]
    file.RequestAttributesSequence = [item(AccessionNumber=number, RequestedProcedureID=number) for number in ("A-1", "A-2")]
    pointers = [(0x00209057, 0x00209111), (0x00089208, 0x00189226)]
    file.DimensionIndexSequence = [item(DimensionIndexPointer=element, FunctionalGroupPointer=group) for element, group in pointers]
    file.SharedFunctionalGroupsSequence = [item(PixelMeasuresSequence=[item(PixelSpacing=[1, 1], SliceThickness=5)],
                                                PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])]
    file.PerFrameFunctionalGroupsSequence = [frame(number, *one) for number, one in enumerate(frames, 1)]
    file.NumberOfFrames, file.Rows, file.Columns, file.SamplesPerPixel = len(frames), 2, 2, 1
    file.PhotometricInterpretation, file.PixelRepresentation = "MONOCHROME2", 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.PixelData = b"".join(struct.pack("<4H", *[position * 10] * 4) for _, position in frames)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(path, enforce_file_format=True)


def loaded(title, frames):
    written("file.dcm", frames)
    kinds = multiframe.load_multi_dicom("file.dcm")
    slices = {kind.split(";")[2]: [int(data[0, 0, n]) // 10 for n in range(data.shape[2])] for kind, (data, _) in kinds.items()}
    names = {(header.PatientID, header.IssuerOfPatientID, header.AccessionNumber) for _, headers in kinds.values() for header in headers}
    print(f"{title}: slices {slices}; Patient ID, its issuer, accession number: {sorted(names)}")
    return slices, names


print("dafne-dicomUtils", package.version)
kinds, positions = ("MAGNITUDE", "PHASE"), (1, 2, 3)
first, names = loaded("magnitude first", [(kind, position) for kind in kinds for position in positions])
turns, same_names = loaded("taking turns", [(kind, position) for position in positions for kind in kinds])
file = dcmread("file.dcm")
print("in the file:", (file.PatientID, file.IssuerOfPatientID, file.AccessionNumber))
right = first == {"FLOW_ENCODED": [1, 2, 3], "VELOCITY": [1, 2, 3]} and turns == {"FLOW_ENCODED": [3], "VELOCITY": [3]}
sys.exit(not (right and names == same_names == {("77", "INSURER", "A-2")}))
END
