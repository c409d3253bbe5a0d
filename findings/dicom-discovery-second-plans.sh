#!/bin/sh
# DICOM_discovery grades a patient OK whose second plan refers to a structure set that is lost, and calls a plan absent that is there.
#
# The program (dicom-discovery 0.11.0) checks radiotherapy data before a study: does each patient have structures, plan and dose, and do they
# refer to each other? "RTPLAN references an absent RTSTRUCT" is its own example. Many patients have two plans, a boost or a new plan among
# them. A link counts as whole if one of all plans has it, so what is missing for the others is not seen: OK, no finding. Then, objects of one
# series are taken for slices of an image, and one of them is read: two plans, or two doses, may have one series (PS3.3, C.8.8.1). Which one
# depends on the folder's order. What refers to the other is reported with "ERROR/HIGH ... absent from this study", and its fractions are not
# counted; the preflight says how many plans were "indexed", not how many there are.
#
# Needs python3.9 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicom-discovery==0.11.0 pydicom==3.0.2 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import csv, importlib.metadata, re, subprocess, sys
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (CTImageStorage, ExplicitVRLittleEndian, RTDoseStorage, RTPlanStorage, RTStructureSetStorage, generate_uid)

KINDS = {"CT": CTImageStorage, "RTSTRUCT": RTStructureSetStorage, "RTPLAN": RTPlanStorage, "RTDOSE": RTDoseStorage}


def item(**attributes):
    made = Dataset()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def reference(kind, uid):
    return [item(ReferencedSOPClassUID=KINDS[kind], ReferencedSOPInstanceUID=uid)]


class Patient:
    def __init__(self, patient_id):
        self.patient_id, self.study, self.frame = patient_id, generate_uid(), generate_uid()
        Path("cohort", patient_id).mkdir(parents=True)
        self.write("CT", "ct")

    def write(self, kind, name, series=None, **attributes):
        uid = generate_uid()
        file = item(SOPClassUID=KINDS[kind], SOPInstanceUID=uid, PatientID=self.patient_id, Modality=kind, StudyDate="20260105",
                    StudyInstanceUID=self.study, SeriesInstanceUID=series or generate_uid(), FrameOfReferenceUID=self.frame, **attributes)
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.save_as(Path("cohort", self.patient_id, f"{name}.dcm"), enforce_file_format=True)
        return uid

    def structures(self):
        regions = [item(ROINumber=number, ROIName=name) for number, name in enumerate(("GTV", "CTV", "PTV"))]
        return self.write("RTSTRUCT", "structures", StructureSetROISequence=regions)

    def plan(self, name, structures, fractions, series=None):
        group = [item(FractionGroupNumber=1, NumberOfFractionsPlanned=fractions)]
        wanted = {"ReferencedStructureSetSequence": reference("RTSTRUCT", structures), "FractionGroupSequence": group}
        return self.write("RTPLAN", name, series, **wanted)

    def dose(self, plan):
        wanted = {"DoseUnits": "GY", "DoseSummationType": "PLAN", "ReferencedRTPlanSequence": reference("RTPLAN", plan)}
        self.write("RTDOSE", f"dose-{plan[-8:]}", **wanted)


lost = Patient("structures-of-boost-lost")
lost.dose(lost.plan("breast", lost.structures(), 25))
lost.dose(lost.plan("boost", generate_uid(), 5))
for number in (0, 1):
    whole = Patient(f"dose-of-plan-{number + 1}")
    structures, series = whole.structures(), generate_uid()
    plans = [whole.plan("breast", structures, 25, series), whole.plan("boost", structures, 5, series)]
    whole.dose(plans[number])

print("dicom-discovery", importlib.metadata.version("dicom-discovery"))
ran = subprocess.run([Path(sys.executable).with_name("dicom-discovery"), "rt-check", "--root", "cohort", "--out-csv", "rt.csv"],
                     capture_output=True, text=True)
indexed = int(re.search(r"'RTPLAN': (\d+)", ran.stdout)[1])
print("exit code", ran.returncode, "- 6 plans, indexed:", indexed)
with open("rt.csv", encoding="utf-8-sig", newline="") as lines:
    rows = {row["patient_id"]: row for row in csv.DictReader(lines)}
for patient_id, row in rows.items():
    print(patient_id, row["rt_status"], "fractions:", row["n_fractions"], row["findings"])
pair = [rows["dose-of-plan-1"], rows["dose-of-plan-2"]]
sys.exit(not (
    ran.returncode == 0 and indexed == 4 and rows["structures-of-boost-lost"]["rt_status"] == "OK"
    and not rows["structures-of-boost-lost"]["findings"] and sorted(row["rt_status"] for row in pair) == ["OK", "WARN"]
    and sum("RTPLAN SOPInstanceUID absent from this study" in row["findings"] for row in pair) == 1
))
END
