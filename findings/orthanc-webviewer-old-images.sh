#!/bin/sh
# Orthanc's web viewer shows the old image after Orthanc has got a corrected one, and goes on to show the image of a patient who was deleted.
#
# The plugin (orthanc-webviewer 2.10, with Debian's Orthanc 1.12.7) keeps the images that it has shown, decoded, in a folder of its own below
# Orthanc's (WebViewerCache). Each has the name of the instance. A new file with the same SOP Instance UID (OverwriteInstances), in which the
# wrong side mark or another patient's burned-in name was corrected, has that name too: Orthanc has the new image, the viewer shows the old
# one. When a study or patient is deleted, nothing is removed from this folder: /instances answers 404, and the viewer
# still gives the image, and the patient's name and ID with it. A restart changes nothing, since the folder stays. Only 100 MB of other
# images, or another version of Orthanc or of the plugin, put an end to it. So a person whose data were erased
# on request is still there. No message tells of it.
#
# Needs Debian on amd64 with apt, python3 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"$here/scripts/unpack-orthanc" trixie "$folder/orthanc" 1.12.7+dfsg-4 >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
(cd "$here" && .venv/bin/python -m fm_pipeline.sandbox.programs.debian --suite trixie "$folder/orthanc/root" \
    orthanc-webviewer=2.10+dfsg-1) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 2>"$folder/log"

NO_PROXY='*' "$folder/venv/bin/python" - "$folder" <<'END'
import atexit, http.client, json, socket, subprocess, sys, time
from io import BytesIO
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

folder = Path(sys.argv[1])
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
(folder / "orthanc.json").write_text(json.dumps({
    "StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"), "HttpPort": port, "DicomServerEnabled": False,
    "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "OverwriteInstances": True,
    "Plugins": [str(next((folder / "orthanc").glob("**/libOrthancWebViewer.so.*")))],
}))


def ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def started():
    with open(folder / "orthanc.log", "ab") as log:
        server = subprocess.Popen([folder / "orthanc/Orthanc", folder / "orthanc.json"], stdout=log, stderr=log)
    atexit.register(server.kill)
    for _ in range(600):
        try:
            ask("GET", "/system")
            return server
        except OSError:
            time.sleep(0.1)
    raise SystemExit("Orthanc did not start within a minute")


study, series, image = generate_uid(), generate_uid(), generate_uid()


def upload(brightness):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID, file.StudyInstanceUID, file.SeriesInstanceUID = SecondaryCaptureImageStorage, image, study, series
    file.PatientID, file.PatientName, file.Modality, file.InstanceNumber = "P-1", "Adams^Mary", "OT", 1
    file.Rows = file.Columns = 4
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelData = 8, 8, 7, bytes([brightness]) * 16
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return json.loads(ask("POST", "/instances", out.getvalue())[1])


def seen(title):
    """Returns what the viewer and what Orthanc have of the image: its brightness, or the status of the answer."""
    shown, viewed = ask("GET", f"/web-viewer/instances/jpeg95-{stored['ID']}_0")
    status, raw = ask("GET", f"/instances/{stored['ID']}/frames/0/raw")
    named, information = ask("GET", f"/web-viewer/series/{stored['ParentSeries']}")
    found = (json.loads(viewed)["maxPixelValue"] if shown == 200 else shown, raw[0] if status == 200 else status,
             json.loads(information)["PatientName"] if named == 200 else named)
    print(f"{title}: the viewer shows brightness {found[0]} of {found[2]}, Orthanc has {found[1]}")
    return found


server = started()
print("Orthanc", json.loads(ask("GET", "/system")[1])["Version"], "- web viewer", json.loads(ask("GET", "/plugins/web-viewer")[1])["Version"])
stored = upload(200)
found = [seen("first image")]
upload(30)
found.append(seen("corrected image"))
print("the patient is deleted:", ask("DELETE", f"/patients/{stored['ParentPatient']}")[0])
found.append(seen("deleted"))
server.terminate()
server.wait()
server = started()
found.append(seen("after a restart"))
sys.exit(found != [(200, 200, "Adams^Mary"), (200, 30, "Adams^Mary"), (200, 404, "Adams^Mary"), (200, 404, "Adams^Mary")])
END
