#!/bin/sh
# sautiris asks the archive for another patient: of 12/3 it shows the studies of 123, of P_1 those of P1, and of "№" those of everybody.
#
# The radiology information system (1.0.0a2, "complete, production-ready") has an adapter that asks Orthanc over DICOMweb. From the Patient ID it
# removes what is not a Latin letter, a digit or a hyphen, before it asks, while a Patient ID may have any letter but a
# backslash (PS3.5, LO): a slash, a dot, an underscore or a space are common where a site or a year is part of the number. What is left
# may be the ID of somebody else; if nothing is left, the condition is empty, which stands for all. The answer is passed on as that for
# the patient who was asked for. Deleting a study answers False, as for one that is not there, and the study stays: the UID is sent to Orthanc
# in quotation marks.
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
(. "$here/scripts/_environment" && "$bin/python" -m fm_pipeline.sandbox.programs.debian --suite trixie "$packages" \
    orthanc-dicomweb=1.20+dfsg-1) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
# The package is declared for Python 3.12; the adapter runs on 3.11 in the same way.
"$folder/venv/bin/pip" install -q --disable-pip-version-check --ignore-requires-python sautiris==1.0.0a2 pydicom==3.0.2 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
 "Plugins": ["$packages/usr/lib/orthanc/libOrthancDicomWeb.so.1.20"]}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

cd "$folder"
env -u http_proxy -u HTTP_PROXY -u all_proxy -u ALL_PROXY "$folder/venv/bin/python" - "$port" <<'END'
import asyncio, importlib.metadata, json, sys, time, urllib.request
from io import BytesIO
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid
from sautiris.integrations.pacs.orthanc import OrthancPACSAdapter

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(path, body=None):
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return json.loads(answer.read())


def store(patient_id):
    file = Dataset()
    file.SpecificCharacterSet = "ISO_IR 192"
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = generate_uid(), generate_uid(), patient_id
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    ask("/instances", out.getvalue())
    return file.StudyInstanceUID


for _ in range(300):
    try:
        print("sautiris", importlib.metadata.version("sautiris"), "- Orthanc", ask("/system")["Version"])
        break
    except OSError:
        time.sleep(0.1)
studies = {patient_id: store(patient_id) for patient_id in ("12/3", "123", "P_1", "P1", "Ж-7", "-7")}


async def try_it():
    adapter = OrthancPACSAdapter(at)
    found = {}
    for asked in ("12/3", "P_1", "Ж-7", "№"):
        answer = await adapter.search_studies(patient_id=asked)
        found[asked] = sorted(study["00100020"]["Value"][0] for study in answer)
        print("studies of", asked, "- those of", *found[asked])
    deleted = await adapter.delete_study(studies["123"])
    await adapter.close()
    return found, deleted


found, deleted = asyncio.run(try_it())
left = len(ask("/studies"))
print("delete a study of 123:", deleted, "- studies in Orthanc:", left, "of", len(studies))
right = found == {"12/3": ["123"], "P_1": ["P1"], "Ж-7": ["-7"], "№": sorted(studies)}
sys.exit(not (right and deleted is False and left == len(studies)))
END
