#!/bin/sh
# pyopv keeps one visual field of each patient: of both eyes, examined twice, three files of four are not in the JSON.
#
# The package (1.0.0; described in J Glaucoma 2026) reads a directory of perimetry files, and gives them as nested JSON: by patient, eye and
# file. Each file's part is put in the place of the patient, and so replaces what an earlier file of the same patient had put there. What is
# left is one eye on one day, the file that the directory lists last. An examination of perimetry is a file for each eye, so every patient loses
# something. The set has all files, the table that it makes of the same set has all points, and no error is printed. The eye itself is
# taken from Laterality of the series, if that is there, even empty, as type 2C allows: then the table and the JSON have "" for an eye,
# though Measurement Laterality (type 1) says R or L.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyopv==1.0.0 pydicom==3.0.2 pandas==3.1.1 numpy==2.4.6 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END'
import sys
from importlib.metadata import version
from pathlib import Path
import pyopv
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, OphthalmicVisualFieldStaticPerimetryMeasurementsStorage, generate_uid


def item(**values):
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def field(folder, patient, day, eye, laterality):
    """A field of four points; the sensitivity, in dB, is that of the day."""
    file = item(SOPClassUID=OphthalmicVisualFieldStaticPerimetryMeasurementsStorage, SOPInstanceUID=generate_uid(),
                StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), Modality="OPV", InstanceNumber=1,
                PatientID=patient, PatientName="Adams^Mary", StudyDate=day, MeasurementLaterality=eye)
    if laterality is not None:
        file.Laterality = laterality
    deviation = item(AgeCorrectedSensitivityDeviationValue=-2.0, AgeCorrectedSensitivityDeviationProbabilityValue=5.0)
    file.VisualFieldTestPointSequence = [
        item(VisualFieldTestPointXCoordinate=x, VisualFieldTestPointYCoordinate=y, StimulusResults="SEEN", SensitivityValue=float(day[-2:]),
             VisualFieldTestPointNormalsSequence=[deviation]) for x in (-3.0, 3.0) for y in (-3.0, 3.0)]
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    Path(folder).mkdir(exist_ok=True)
    file.save_as(f"{folder}/{patient}.{day}.{eye}.dcm", enforce_file_format=True)


def read(folder):
    fields, errors = pyopv.read_dicom_directory(folder)
    table, failed = fields.pointwise_to_pandas()
    assert not errors and failed.empty, (errors, failed)
    nested = fields.opvdicoms_pointwise_to_nested_json()
    kept = {patient: [eye for eye, files in eyes.items() for _ in files] for patient, eyes in nested.items()}
    print(f"{folder}: files in the set: {len(fields.opvdicoms)}; in the table: {table.sop_instance_uid.nunique()}, points {len(table)},",
          f"eyes {sorted(set(table.laterality))}; in the JSON, eyes of each patient: {dict(sorted(kept.items()))}")
    return len(fields.opvdicoms), table.sop_instance_uid.nunique(), len(table), sorted(set(table.laterality)), kept


print("pyopv", version("pyopv"))
for patient in ("P-1", "P-2"):
    for day in ("20250120", "20260128"):
        for eye in ("R", "L"):
            field("with-laterality", patient, day, eye, eye)
field("empty-laterality", "P-1", "20260128", "R", "")
field("without-laterality", "P-1", "20260128", "R", None)
*all_files, kept = read("with-laterality")
right = all_files == [8, 8, 32, ["L", "R"]] and sorted(kept) == ["P-1", "P-2"] and all(len(eyes) == 1 for eyes in kept.values())
right &= read("empty-laterality") == (1, 1, 4, [""], {"P-1": [""]})
right &= read("without-laterality") == (1, 1, 4, ["R"], {"P-1": ["R"]})
sys.exit(not right)
END
