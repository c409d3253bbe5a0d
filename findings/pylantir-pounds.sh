#!/bin/sh
# pylantir's worklist gives a patient of 154 pounds to the scanner as one of 154 kilograms, and a patient without a weight as 100.
#
# Patient's Weight is in kilograms (PS3.3, C.7.2.2), and scanners compute from it how much energy or contrast medium a patient may
# get. The server (0.4.6) has one column for it, patient_weight_lb, which its example configuration fills with mri_wt_lbs, and
# sends the number as it is. If it is unknown, the worklist says 100, which looks measured. When a patient has two examinations
# and the second is done, the server closes the first one: it takes the first row with the patient's ID and name, and not the
# study that the scanner's report (MPPS) names. The examination that was not done is off the worklist then, the other one stays.
#
# Needs python3.11 or newer and its venv; the server is on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pylantir==0.4.6 pynetdicom==3.0.4 pydicom==3.0.2 2>"$folder/log"

cd "$folder"
DB_PATH="$folder/worklist.db" "$folder/venv/bin/python" - <<'END'
import importlib.metadata, json, logging, socket, sys, threading, time
from pathlib import Path
import pylantir
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pylantir.db_setup import Session
from pylantir.models import WorklistItem
from pylantir.mwl_server import run_mwl_server
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep as Performed
from pynetdicom.sop_class import ModalityWorklistInformationFind as Worklist

logging.disable(logging.CRITICAL)
example = json.loads((Path(pylantir.__file__).parent / "config/mwl_config.json").read_text())["redcap2wl"]["mri_wt_lbs"]
print("pylantir", importlib.metadata.version("pylantir"), "- its example: mri_wt_lbs ->", example)
studies = {name: generate_uid() for name in ("head", "knee", "chest")}
with Session() as session:
    for patient, name, weight in [("Adams^Mary", "head", "154"), ("Adams^Mary", "knee", "154"), ("Brown^Tom", "chest", None)]:
        item = WorklistItem(patient_name=patient, patient_id=patient[:5], study_description=name, study_instance_uid=studies[name],
                            scheduled_start_date="20260105", modality="MR", data_source="clinic", source_record_id=name)
        if weight:
            item.patient_weight_lb = weight
        session.add(item)
    session.commit()

with socket.socket() as held:
    held.bind(("127.0.0.1", 0))
    port = held.getsockname()[1]
threading.Thread(target=run_mwl_server, args=("127.0.0.1", port), daemon=True).start()
scanner = AE(ae_title="SCANNER")
scanner.add_requested_context(Worklist)
scanner.add_requested_context(Performed)
for _ in range(100):
    association = scanner.associate("127.0.0.1", port)
    if association.is_established:
        break
    time.sleep(0.2)
assert association.is_established


def worklist():
    query = Dataset()
    query.PatientName = ""
    answers = list(association.send_c_find(query, Worklist))
    assert answers[-1][0].Status == 0, answers
    return [(str(one.PatientName), float(one.PatientWeight), one.StudyDescription) for _, one in answers[:-1]]


def perform(patient, name):
    """Report one examination as begun and as done, as a scanner does."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = studies[name]
    begun = Dataset()
    begun.ScheduledStepAttributesSequence = [scheduled]
    begun.PatientName, begun.PatientID, begun.PerformedProcedureStepStatus = patient, patient[:5], "IN PROGRESS"
    done = Dataset()
    done.PerformedProcedureStepStatus = "COMPLETED"
    step = generate_uid()
    assert association.send_n_create(begun, Performed, step)[0].Status == 0
    assert association.send_n_set(done, Performed, step)[0].Status == 0


before = worklist()
print("worklist (name, kilograms, examination):", *before)
perform("Adams^Mary", "knee")
after = worklist()
print("after the knee was examined:", *after)
association.release()
right = before == [("Adams^Mary", 154, "head"), ("Adams^Mary", 154, "knee"), ("Brown^Tom", 100, "chest")]
sys.exit(not (right and example == "patient_weight_lb" and after == before[1:]))
END
