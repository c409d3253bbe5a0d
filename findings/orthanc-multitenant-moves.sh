#!/bin/sh
# Orthanc's multitenant plugin answers C-MOVE with "completed: 1, failed: 0" also when it has sent nothing.
#
# The plugin (of Orthanc 1.12.7) gives each tenant an AE title, at which the studies with the tenant's label are seen. It answers
# a retrieve of a study that this tenant does not have, because it is another one's or the UID is mistyped, with the status
# Success, one sub-operation completed and none failed; no image comes. For a study of three images, all of which come, the answer
# is the same. A client cannot tell one from the other, and a migration that trusts the answer takes an absent study for moved.
# Orthanc itself answers the same requests with 0xc000, and with 3.
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

packages="$folder/orthanc/root"
"$here/scripts/unpack-orthanc" trixie "$folder/orthanc" 1.12.7+dfsg-4 >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 pynetdicom==3.0.4 2>"$folder/log"

ports=$("$folder/venv/bin/python" -c 'import socket
held = [socket.socket() for _ in range(5)]
print(*(s.bind(("127.0.0.1", 0)) or s.getsockname()[1] for s in held))')
set -- $ports
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $1, "DicomPort": $2,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomAlwaysAllowMove": true,
 "Plugins": ["$packages/usr/lib/orthanc/libMultitenantDicom.so.1.12.7"],
 "MultitenantDicom": {"Servers": [{"AET": "WARD1", "Port": $3, "Labels": ["ward1"]},
                                  {"AET": "WARD2", "Port": $4, "Labels": ["ward2"]}]},
 "DicomModalities": {"client": ["CLIENT", "127.0.0.1", $5]}}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$@" <<'END'
import json, sys, time, urllib.request
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as Move

http, plain, ward1, ward2, own = map(int, sys.argv[1:])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(300):
    try:
        print("Orthanc", json.loads(opener.open(f"http://127.0.0.1:{http}/system", timeout=60).read())["Version"])
        break
    except OSError:
        time.sleep(0.1)

def connect(port, name, context):
    client = AE(ae_title="CLIENT")
    client.add_requested_context(context)
    return client.associate("127.0.0.1", port, ae_title=name)

study = generate_uid()
association = connect(ward1, "WARD1", EncapsulatedPDFStorage)
for _ in range(3):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = study, generate_uid(), "P-1"
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    association.send_c_store(file)
association.release()

came = []
def keep(event):
    came.append(event.dataset.SOPInstanceUID)
    return 0

receiver = AE(ae_title="CLIENT")
receiver.add_supported_context(EncapsulatedPDFStorage)
server = receiver.start_server(("127.0.0.1", own), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])

def move(port, name, uid):
    came.clear()
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", uid
    association = connect(port, name, Move)
    *_, (status, _) = association.send_c_move(wanted, "CLIENT", Move)
    association.release()
    completed, failed = (status.get(f"NumberOf{name}Suboperations") for name in ("Completed", "Failed"))
    whose = "WARD1's study" if uid == study else "no study"
    print(f"{name} is asked for {whose}: status {status.Status:#06x}, completed: {completed}, failed: {failed},", end=" ")
    print("images that came:", len(came))
    return status.Status, completed, failed, len(came)

right = move(ward1, "WARD1", study) == (0, 1, 0, 3)
right &= move(ward2, "WARD2", study) == (0, 1, 0, 0)
right &= move(ward1, "WARD1", "1.2.3") == (0, 1, 0, 0)
right &= move(plain, "ORTHANC", study) == (0, 3, 0, 3)
right &= move(plain, "ORTHANC", "1.2.3")[::3] == (0xC000, 0)
server.shutdown()
sys.exit(not right)
END
