#!/bin/sh
# mwlkit sends the MR scanner a worklist entry with the CT's study, accession number and time, if one message orders both.
#
# The package (0.1.0) makes a DICOM worklist entry of an HL7 order; the scanner copies its study and numbers into each image. "Nothing is
# invented silently", it says. HL7 lets a message have several orders (the group of ORC and OBR repeats in ORM^O01 and OMI^O23). mwlkit takes
# the first, and gives it the steps (IPC) of all: the knee's MR images become a part of the CT of the chest, and the radiologist's report goes
# to the wrong order. Without IPC segments the second order is left out. A cancellation (ORC-1 CA, DC) gives an entry too: written to the
# worklist's folder, as in the manual, it puts the examination on again; only the status is missing. No warning tells of any of it.
#
# Needs python3.9 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check mwlkit==0.1.0 hl7kit==0.2.0 pydicom==3.0.2 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

"$folder/venv/bin/python" - <<'END'
import importlib.metadata, sys
import mwlkit


def group(number, code, name, modality, hour, control="NW", steps=True):
    """One order as its segments: HL7 2.5.1, chapter 4, OMI^O23."""
    segments = [
        f"ORC|{control}|O-{number}|F-{number}", f"TQ1|1||||||20260105{hour}0000||R",
        f"OBR|{number}|O-{number}|F-{number}|{code}^{name}^L||||||||||||||A-{number}|RP-{number}|S-{number}||||{modality}",
    ]
    return segments + [f"IPC|A-{number}|RP-{number}|1.2.3.{number}|S-{number}|{modality}|{code}^{name}^L|||{modality}1"] * steps


def worklist(title, *groups):
    segments = [r"MSH|^~\&|HIS|HOSPITAL|RIS|HOSPITAL|20260105083000||OMI^O23^OMI_O23|M-1|P|2.5.1||||||UNICODE UTF-8",
                "PID|1||P-1^^^HOSPITAL^MR||Adams^Mary||19710203|F", "PV1|1|I"]
    item = mwlkit.worklist_item("\r".join(segments + sum(groups, [])), default_station_ae="ROOM")
    entry = mwlkit.to_pydicom(item)
    steps = [(step.Modality, step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepStartTime[:2],
              step.get("ScheduledProcedureStepStatus", "no status")) for step in entry.ScheduledProcedureStepSequence]
    print(f"{title}: accession number {entry.AccessionNumber}, study {entry.StudyInstanceUID}")
    for step in steps:
        print("   step:", *step)
    print("   warnings:", [text for text in item.warnings if "UID" not in text and "AE Title" not in text])
    return entry.AccessionNumber, entry.StudyInstanceUID, steps, len(item.warnings)


print("mwlkit", importlib.metadata.version("mwlkit"))
chest, knee = ("CT1", "CT Chest", "CT", "09"), ("MR1", "MR Knee", "MR", "10")
alone = worklist("the MR alone", group(2, *knee))
both = worklist("CT and MR", group(1, *chest), group(2, *knee))
plain = worklist("CT and MR without IPC", group(1, *chest, steps=False), group(2, *knee, steps=False))
cancelled = worklist("the CT, cancelled", group(1, *chest, control="CA"))
sys.exit(not (
    alone == ("A-2", "1.2.3.2", [("MR", "MR Knee", "10", "SCHEDULED")], 0)
    and both == ("A-1", "1.2.3.1", [("CT", "CT Chest", "09", "SCHEDULED"), ("MR", "CT Chest", "09", "SCHEDULED")], 0)
    and plain[0] == "A-1" and plain[2] == [("CT", "CT Chest", "09", "SCHEDULED")]
    and cancelled == ("A-1", "1.2.3.1", [("CT", "CT Chest", "09", "no status")], 0)
))
END
