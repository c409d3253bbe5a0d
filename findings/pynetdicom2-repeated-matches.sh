#!/bin/sh
# A server of pynetdicom2 answers a query for all patients with the last one, as often as there are patients: P-4 P-4 P-4 P-4.
#
# The library (0.9.8) sends the matches of a C-FIND through a queue, and encodes each when its turn comes. All of them are one
# message object, into which the next match has been written by then. So a client gets the right number of answers, but later
# matches stand in the place of earlier ones; which ones depends on chance. If the handler needs a moment for each match, all
# come. A worklist is sent by the same code: the machine's operator reads one patient on every line, and cannot choose the
# others. A migration that asks such a server for its studies misses most of them, and the count agrees. tiny-pacs is built on it.
#
# Needs python3.11 or newer and its venv; the server is on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pynetdicom2==0.9.8 pynetdicom==3.0.4 pydicom==3.0.2 2>"$folder/log"

"$folder/venv/bin/python" - <<'END'
import importlib.metadata, socket, sys, time
import pynetdicom, pynetdicom2
from pydicom.dataset import Dataset
from pynetdicom.sop_class import ModalityWorklistInformationFind, PatientRootQueryRetrieveInformationModelFind
from pynetdicom2.statuses import C_FIND_PENDING

PATIENTS = ["P-1", "P-2", "P-3", "P-4"]
ROUNDS = 10
with socket.socket() as held:
    held.bind(("127.0.0.1", 0))
    port = held.getsockname()[1]


class Server(pynetdicom2.AE):
    pause = 0

    def on_receive_find(self, context, ds):
        for patient in PATIENTS:
            match = Dataset()
            match.PatientID = patient
            yield match, C_FIND_PENDING
            time.sleep(self.pause)


def ask(association, model):
    """Answer the patients that one query gives."""
    query = Dataset()
    query.PatientID = ""
    if model == PatientRootQueryRetrieveInformationModelFind:
        query.QueryRetrieveLevel = "PATIENT"
    answers = list(association.send_c_find(query, model))
    assert answers[-1][0].Status == 0, answers
    return [match.PatientID for _, match in answers[:-1]]


print("pynetdicom2", importlib.metadata.version("pynetdicom2"), "- the server has", *PATIENTS)
client = pynetdicom.AE()
right = True
with Server("ARCHIVE", port).add_scp(pynetdicom2.qr_find_scp).add_scp(pynetdicom2.modality_work_list_scp) as server:
    for model, name in [(PatientRootQueryRetrieveInformationModelFind, "query"), (ModalityWorklistInformationFind, "worklist")]:
        client.add_requested_context(model)
        association = client.associate("127.0.0.1", port, ae_title="ARCHIVE")
        assert association.is_established
        answers = [ask(association, model) for _ in range(ROUNDS)]
        server.pause = 0.3
        slow = ask(association, model)
        server.pause = 0
        association.release()
        wrong = [answer for answer in answers if answer != PATIENTS]
        print(f"{name}: {len(wrong)} of {ROUNDS} answers are wrong:", *sorted({" ".join(answer) for answer in wrong}), sep="\n  ")
        print(f"{name}, 0.3 seconds between the matches:", *slow)
        right &= slow == PATIENTS and len(wrong) > 0
        right &= all(len(answer) == len(PATIENTS) and len(set(answer)) < len(PATIENTS) for answer in wrong)
sys.exit(not right)
END
