#!/bin/sh
# Orthanc's C-GET of one study gives the studies of other patients if the request has an accession number, even an empty one.
#
# A retrieve of a study goes by its unique key, the Study Instance UID (PS3.4, C.4.3). If the attribute Accession Number is in the
# request too, Orthanc (1.12.7) does not look at the UID any more: it sends each study with this number, which is unique within
# one hospital at most. Clients that ask with what C-FIND has answered send the attribute along, often without a value. Then all
# studies without a number come, of all patients; a study that has one does not come although its UID is asked for. C-MOVE does
# the same, except for an empty number. The status is Success.
#
# Needs Debian on amd64 with apt, python3 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
orthanc=
trap '[ -z "$orthanc" ] || kill "$orthanc" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1

"$here/scripts/unpack-orthanc" trixie "$folder/orthanc" 1.12.7+dfsg-4 >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 pynetdicom==3.0.4 2>"$folder/log"

ports=$("$folder/venv/bin/python" -c 'import socket
held = [socket.socket() for _ in range(3)]
print(*(s.bind(("127.0.0.1", 0)) or s.getsockname()[1] for s in held))')
set -- $ports
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $1, "DicomPort": $2, "Plugins": [],
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomAlwaysAllowGet": true, "DicomAlwaysAllowMove": true,
 "DicomModalities": {"client": ["CLIENT", "127.0.0.1", $3]}}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$@" <<'END'
import json, sys, time, urllib.request
from io import BytesIO
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as Get
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as Move

http, dicom, own = map(int, sys.argv[1:])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    with opener.open(urllib.request.Request(f"http://127.0.0.1:{http}{path}", body), timeout=60) as answer:
        return json.loads(answer.read())

def instance(patient_id, study, number):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = study, generate_uid(), patient_id
    file.AccessionNumber = number
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()

for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"])
        break
    except OSError:
        time.sleep(0.1)

STUDIES = {"P-1": "A-1", "P-2": "A-1", "P-3": "", "P-4": ""}
uids = {patient_id: generate_uid() for patient_id in STUDIES}
for patient_id, number in STUDIES.items():
    ask("/instances", instance(patient_id, uids[patient_id], number))
print("accession numbers:", STUDIES)

came = []
def keep(event):
    came.append(event.dataset.PatientID)
    return 0

handlers = [(evt.EVT_C_STORE, keep)]
receiver = AE(ae_title="CLIENT")
receiver.add_supported_context(EncapsulatedPDFStorage)
server = receiver.start_server(("127.0.0.1", own), block=False, evt_handlers=handlers)

def retrieve(model, patient_id, **more):
    came.clear()
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", uids[patient_id]
    for keyword, value in more.items():
        setattr(wanted, keyword, value)
    client = AE(ae_title="CLIENT")
    client.add_requested_context(model)
    client.add_requested_context(EncapsulatedPDFStorage)
    role = build_role(EncapsulatedPDFStorage, scp_role=True)
    association = client.associate("127.0.0.1", dicom, ext_neg=[role], evt_handlers=handlers)
    answers = association.send_c_get(wanted, model) if model is Get else association.send_c_move(wanted, "CLIENT", model)
    status = [status.Status for status, _ in answers][-1]
    association.release()
    name = "C-GET" if model is Get else "C-MOVE"
    print(f"{name} of the study of {patient_id}", more or "", f"- status {status:#06x}, came:", *sorted(came) or ["nothing"])
    return status == 0 and sorted(came)

right = retrieve(Get, "P-1") == ["P-1"]
right &= retrieve(Get, "P-1", AccessionNumber="A-1") == ["P-1", "P-2"]
right &= retrieve(Get, "P-1", AccessionNumber="") == ["P-3", "P-4"]
right &= retrieve(Get, "P-3", AccessionNumber="") == ["P-3", "P-4"]
right &= retrieve(Move, "P-1", AccessionNumber="A-1") == ["P-1", "P-2"]
right &= retrieve(Move, "P-1", AccessionNumber="") == ["P-1"]
server.shutdown()
sys.exit(not right)
END
