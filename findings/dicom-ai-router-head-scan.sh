#!/bin/sh
# dicom-ai-router sends the head's images to the model for the lung, and stores its "no nodule" in the patient's study.
#
# The router (0.3.0) takes studies from scanners, asks a model that a rule names, and stores the answer as a report in the patient's study.
# The rule is found by one image, that with the lowest number; what is sent is the largest series of the study, whatever it shows (the rules
# that come with it say "series: largest"). After an accident head and chest are one study. If an image of the chest comes first and the
# head has more images, the head is searched for nodules of the lung: the study is DONE, and the report says that there is none. If
# the head comes first, no rule matches, and the chest is not searched. A rule for MR sends nothing, as only CT images are
# "eligible", which the manual does not say; such studies are IGNORED, as those are that no rule names.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicom-ai-router==0.3.0 pydicom==3.0.2 pynetdicom==3.0.4 pyyaml==6.0.4 \
    2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
AIROUTER_DEID_SALT=4f1b7c2d9e8a60355c7d1e2f "$folder/venv/bin/python" - <<'END'
import json, struct, sys, threading
from collections import Counter
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
import airouter, yaml
from airouter.audit import Audit
from airouter.config import load_config
from airouter.pipeline import inbox_folder, process_study
from airouter.store import Store
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import BasicTextSRStorage, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, SecondaryCaptureImageStorage
from pydicom.uid import generate_uid
from pynetdicom import AE, evt

asked, reports = [], []


class Model(BaseHTTPRequestHandler):
    """Notes the body parts of what it gets, and finds nothing."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
        form = message_from_bytes(head + body, policy=policy.HTTP)
        parts = [dcmread(BytesIO(part.get_payload(decode=True))).BodyPartExamined for part in form.iter_parts()]
        asked.append(dict(Counter(parts)))
        said = {"model": "lung-nodule", "model_version": "1", "result": "NEGATIVE", "summary_lines": [["Result", "no nodule"]]}
        answer = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def keep(event):
    reports.append(event.dataset)
    return 0


def images(study, first, series, kind=CTImageStorage, modality="CT"):
    """Writes the images as the router does when they arrive; those of the series `first` begin with number 1, others with 2."""
    folder = inbox_folder(config, study)
    folder.mkdir()
    for place, (part, count) in enumerate(sorted(series.items(), key=lambda item: item[0] != first)):
        uid, frame = generate_uid(), generate_uid()
        for number in range(1, count + 1):
            file = Dataset()
            file.SOPClassUID, file.StudyInstanceUID, file.SeriesInstanceUID = kind, study, uid
            file.SOPInstanceUID, file.FrameOfReferenceUID = generate_uid(), frame
            file.ImagePositionPatient, file.ImageOrientationPatient = [0, 0, 5 * number], [1, 0, 0, 0, 1, 0]
            file.PixelSpacing, file.SliceThickness, file.RescaleIntercept, file.RescaleSlope = [1, 1], 5, -1024, 1
            file.StudyDate, file.StudyTime = "20260105", "103000"
            file.PatientID, file.PatientName, file.AccessionNumber = "P-1", "Adams^Mary", "A-1"
            file.Modality, file.BodyPartExamined, file.InstanceNumber = modality, part, number + place
            file.StudyDescription, file.ImageType = "CT polytrauma", ["ORIGINAL", "PRIMARY", "AXIAL"]
            file.Rows = file.Columns = 4
            file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
            file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
            file.PixelData = struct.pack("<16H", *[100] * 16)
            file.file_meta = FileMetaDataset()
            file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            file.save_as(folder / f"{file.SOPInstanceUID}.dcm", enforce_file_format=True)
    store.instance_received(study, "CT1")


def route(title, *what, **more):
    asked.clear()
    reports.clear()
    study = generate_uid()
    images(study, *what, **more)
    state = process_study(study, config, store, audit)
    (row,) = [row for row in store.studies() if row["study_uid"] == study]
    report = [item.TextValue for file in reports if file.Modality == "SR" for item in file.ContentSequence]
    print(f"{title}: {state} ({row['summary']}), rule {row['rule']}; the model got {asked or 'nothing'}")
    return state, row["rule"], list(asked), report, row["summary"]


model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=model.serve_forever, daemon=True).start()
receiver = AE(ae_title="PACS")
for kind in (BasicTextSRStorage, SecondaryCaptureImageStorage):
    receiver.add_supported_context(kind)
pacs = receiver.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])

shipped = Path(airouter.__file__).parent / "_data/router.yaml"
changed = yaml.safe_load(shipped.read_text())
changed["router"]["workdir"] = "data"
changed["pacs"].update(host="127.0.0.1", port=pacs.server_address[1])
changed["ai_endpoints"]["lung-nodule"]["url"] = f"http://127.0.0.1:{model.server_address[1]}/"
changed["rules"].append({"name": "mr", "match": {"Modality": "^MR$"}, "model": "lung-nodule"})
Path("router.yaml").write_text(yaml.safe_dump(changed))
config = load_config("router.yaml")
store, audit = Store(config.db_path), Audit(config.audit_path)

print("dicom-ai-router", version("dicom-ai-router"))
alone = route("chest alone", "CHEST", {"CHEST": 3})
chest = route("chest first, then a larger head", "CHEST", {"CHEST": 3, "HEAD": 5})
print("   report in the patient's study:", chest[3])
head = route("head first, then the chest", "HEAD", {"CHEST": 3, "HEAD": 5})
mr = route("MR with a rule of its own", "CHEST", {"CHEST": 3}, kind=MRImageStorage, modality="MR")
model.shutdown()
pacs.shutdown()
sys.exit(not (
    alone[:3] == ("DONE", "ct-chest-by-bodypart", [{"CHEST": 3}])
    and chest[:3] == ("DONE", "ct-chest-by-bodypart", [{"HEAD": 5}]) and "no nodule" in chest[3]
    and head[:3] == ("IGNORED", None, []) and mr[0] == "IGNORED" and mr[2] == []
))
END
