#!/bin/sh
# wlmscpfs, DCMTK's worklist server, shows a patient who has a CT and an MR in one order to no device: "incomplete, file will be ignored".
#
# An order may have several steps; the worklist's Scheduled Procedure Step Sequence has an item for each, and a device asks for its own:
# modality, station, day. wlmscpfs (DCMTK 3.6.7, Debian 12) reads worklists from files. Of a file with two items it says that it is
# incomplete, although each item has all that the manual asks of one, and leaves the patient out of every answer, also one to a query
# for all: the device's list is short, the status is success, and somebody types the patient's name and number by hand. With -dfr
# (--disable-file-reject) the patient is there, but an MR scanner that asks for MR gets the CT's step as the first of two; a device
# expects one item (PS3.4, table K.6-1). Orthanc's worklist plugin reads the same file right, and gives each device its own step.
#
# Needs Debian 12 on amd64 with apt, python3 and its venv. Both servers are unpacked in a temporary folder, and run on 127.0.0.1.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"$here/scripts/unpack-orthanc" trixie "$folder/orthanc" 1.12.7+dfsg-4 >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
(. "$here/scripts/_environment" && "$bin/python" -m fm_pipeline.sandbox.programs.debian "$folder/dcmtk" \
    dcmtk=3.6.7-9~deb12u4 libdcmtk17=3.6.7-9~deb12u4) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 pynetdicom==3.0.4 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import json, os, socket, subprocess, sys, time
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind as Worklist

folder = Path(sys.argv[1])
place = folder / "lists" / "RIS"
place.mkdir(parents=True)
(place / "lockfile").touch()


def step(modality, number):
    item = Dataset()
    item.Modality, item.ScheduledStationAETitle, item.ScheduledProcedureStepID = modality, modality + "1", str(number)
    item.ScheduledProcedureStepStartDate, item.ScheduledProcedureStepStartTime = "20261201", "0900"
    item.ScheduledProcedureStepDescription = modality + " head"
    return item


def order(patient_id, name, *modalities):
    file = Dataset()
    file.PatientID, file.PatientName, file.AccessionNumber = patient_id, name, "A" + patient_id
    file.StudyInstanceUID, file.RequestedProcedureID, file.RequestedProcedureDescription = generate_uid(), "R" + patient_id, "head"
    file.ScheduledProcedureStepSequence = [step(modality, number) for number, modality in enumerate(modalities)]
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID, file.file_meta.MediaStorageSOPInstanceUID = Worklist, generate_uid()
    file.save_as(place / (patient_id + ".wl"), enforce_file_format=True)


def ask(port, **wanted):
    """The patients of a worklist and their steps, once the server is there."""
    query = Dataset()
    query.PatientID = query.PatientName = ""
    query.ScheduledProcedureStepSequence = [step("", "")]
    for name in query.ScheduledProcedureStepSequence[0].dir():
        setattr(query.ScheduledProcedureStepSequence[0], name, wanted.get(name, ""))
    client = AE("MR1")
    client.add_requested_context(Worklist)
    for _ in range(100):
        peer = client.associate("127.0.0.1", port, ae_title="RIS")
        if peer.is_established:
            answers = list(peer.send_c_find(query, Worklist))
            peer.release()
            assert answers[-1][0].Status == 0
            steps = {answer.PatientID: answer.ScheduledProcedureStepSequence for _, answer in answers if answer}
            return {patient_id: [item.Modality for item in steps[patient_id]] for patient_id in sorted(steps)}
        time.sleep(0.1)
    sys.exit("the server did not start")


order("P1", "Adams", "CT")
order("P2", "Brown", "MR")
order("P3", "Clark", "CT", "MR")
held = [socket.socket() for _ in range(4)]
dcmtk, lenient, orthanc, http = [own.bind(("127.0.0.1", 0)) or own.getsockname()[1] for own in held]
for own in held:
    own.close()
settings = {"StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"), "HttpPort": http, "DicomPort": orthanc,
            "DicomAlwaysAllowFindWorklist": True, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "Plugins": [str(folder / "orthanc" / "root" / "usr/lib/orthanc/libModalityWorklists.so.1.12.7")],
            "Worklists": {"Enable": True, "Database": str(place)}}
(folder / "orthanc.json").write_text(json.dumps(settings))
libraries = {**os.environ, "LD_LIBRARY_PATH": str(folder / "dcmtk/usr/lib/x86_64-linux-gnu"),
             "DCMDICTPATH": str(folder / "dcmtk/usr/share/libdcmtk17/dicom.dic")}
program = str(folder / "dcmtk/usr/bin/wlmscpfs")
log = open(folder / "wlmscpfs.log", "w")
servers = [
    *(subprocess.Popen([program, *option, "-dfp", str(place.parent), "--single-process", str(port)], env=libraries, stdout=log, stderr=log)
      for port, option in ((dcmtk, []), (lenient, ["-dfr"]))),
    subprocess.Popen([folder / "orthanc/Orthanc", folder / "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
]
CT, MR = {"P1": ["CT"]}, {"P2": ["MR"]}
try:
    right = True
    for name, wanted, shown, own in (("all", {}, {**CT, **MR}, ["CT", "MR"]), ("CT", {"Modality": "CT"}, CT, ["CT"]),
                                     ("MR", {"Modality": "MR"}, MR, ["MR"])):
        found = [ask(port, **wanted) for port in (dcmtk, lenient, orthanc)]
        print(f"asked for {name} - wlmscpfs: {found[0]}, wlmscpfs -dfr: {found[1]}, Orthanc: {found[2]}")
        right &= found == [shown, {**shown, "P3": ["CT", "MR"]}, {**shown, "P3": own}]
finally:
    for server in servers:
        server.terminate()
        server.wait()
said = {line.replace(str(folder), "") for line in (folder / "wlmscpfs.log").read_text().splitlines() if "ignored" in line}
print(subprocess.run([program, "--version"], env=libraries, capture_output=True, text=True).stdout.split("\n")[0], *said)
sys.exit(not (right and len(said) == 1 and "P3.wl" in said.pop()))
END
