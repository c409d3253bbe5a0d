#!/bin/sh
# dicom-anonymizer leaves the references between files as they were: a report points to the image's old id, and names it.
#
# The tool gives each study, series and image a new UID, so that nobody finds the patient by the old one. It applies its rules to
# the outermost data set alone, although PS3.15, E.1 has them apply to all, sequences included. What a segmentation, a
# presentation state or a measurement says of its image therefore stays: the UID that the hospital's archive still has, and that
# the anonymized image has no longer. Within a set of files nothing belongs together any more, and each reference tells who it
# was. The hospital's name, the station and the serial number of a device in a sequence stay too. Exit code 0, no warning.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicom-anonymizer==2.1.0 pydicom==3.0.2 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import subprocess, sys
from importlib.metadata import version
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, GrayscaleSoftcopyPresentationStateStorage, generate_uid

folder = Path(sys.argv[1])
study = generate_uid()

def data_set(**values):
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made

def write(name, **values):
    file = data_set(PatientID="P-1", PatientName="Adams^Mary", PatientBirthDate="19700102", PatientSex="F", **values)
    file.SOPInstanceUID, file.SeriesInstanceUID, file.StudyInstanceUID = generate_uid(), generate_uid(), study
    file.InstitutionName, file.StationName, file.DeviceSerialNumber = "St Mary", "ROOM7", "SN77"
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(folder / "in" / name, enforce_file_format=True)
    return file

(folder / "in").mkdir()
(folder / "out").mkdir()
image = write("image.dcm", SOPClassUID=CTImageStorage, Modality="CT")
shown = data_set(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=image.SOPInstanceUID)
of_series = data_set(SeriesInstanceUID=image.SeriesInstanceUID, ReferencedImageSequence=[shown])
device = data_set(Manufacturer="Acme", InstitutionName="St Mary", StationName="ROOM7", DeviceSerialNumber="SN77")
write("state.dcm", SOPClassUID=GrayscaleSoftcopyPresentationStateStorage, Modality="PR",
      ReferencedSeriesSequence=[of_series], ContributingEquipmentSequence=[device])

program = [folder / "venv/bin/dicom-anonymizer", folder / "in", folder / "out"]
done = subprocess.run(program, capture_output=True, timeout=120)
new_image, state = (dcmread(folder / "out" / name) for name in ("image.dcm", "state.dcm"))
of_series, device = state.ReferencedSeriesSequence[0], state.ContributingEquipmentSequence[0]
shown = of_series.ReferencedImageSequence[0]
print("dicom-anonymizer", version("dicom-anonymizer"), "- exit code:", done.returncode)
print("image before:", image.SOPInstanceUID)
print("image after: ", new_image.SOPInstanceUID)
print("state shows: ", shown.ReferencedSOPInstanceUID)
for keyword in ("InstitutionName", "StationName", "DeviceSerialNumber"):
    print(f"{keyword} of the state: {state.get(keyword)!r}, of its device: {device.get(keyword)!r}")
right = done.returncode == 0 and new_image.SOPInstanceUID != image.SOPInstanceUID
right &= new_image.StudyInstanceUID == state.StudyInstanceUID != study
right &= shown.ReferencedSOPInstanceUID == image.SOPInstanceUID and of_series.SeriesInstanceUID == image.SeriesInstanceUID
right &= state.get("InstitutionName") != "St Mary" and state.get("DeviceSerialNumber") != "SN77"
right &= (device.InstitutionName, device.StationName, device.DeviceSerialNumber) == ("St Mary", "ROOM7", "SN77")
sys.exit(not right)
END
