#!/bin/sh
# dcmfetch puts two studies of one day into one folder, where images of the second replace those of the first; "all" is series 1 to 10,000.
#
# `dcmfetch` (0.3.2) retrieves a patient's series from an archive. It names each folder after the modality, the patient's ID, the
# date, the Study ID and the series' number, and the files in it 00001.dcm, 00002.dcm ... None of these tells two studies apart (only
# the Study Instance UID does, PS3.3, C.7.2.1): the Study ID may be empty, or 1 for everybody, and the first series is 1 or 2. Of a CT
# of the morning (four images) and its control in the evening (two) the folder has the two of the evening and two of the morning,
# as one series; with -z the ZIP has the evening alone. Of -s all, series without a number or with one above 10,000 are left out, which
# is where devices put screenshots and dose reports. Nothing is said of either, and the exit code is 0.
#
# Needs Debian on amd64 with apt, python3 (3.10 or newer) and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check dcmfetch==0.3.2 pydicom==3.0.2 pynetdicom==3.0.4 'setuptools<81' 2>"$folder/log"

ports=$("$folder/venv/bin/python" -c 'import socket
held = [socket.socket() for _ in range(2)]
print(*(s.bind(("127.0.0.1", 0)) or s.getsockname()[1] for s in held))')
set -- $ports
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $1, "DicomPort": $2, "Plugins": [],
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomAlwaysAllowFind": true, "DicomAlwaysAllowGet": true}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

cd "$folder"
PATH="$folder/venv/bin:$PATH" HOME="$folder" DCMTOOLKIT=pynetdicom python - "$@" <<'END'
import importlib.metadata, json, subprocess, sys, time, urllib.request, zipfile
from io import BytesIO
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

http, dicom = map(int, sys.argv[1:])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(path, body=None):
    with opener.open(urllib.request.Request(f"http://127.0.0.1:{http}{path}", body), timeout=60) as answer:
        return json.loads(answer.read())


def image(study, series, series_number, number, study_id, comment):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = study, series
    file.PatientID, file.StudyID, file.StudyDate, file.Modality = "P-1", study_id, "20250301", "CT"
    file.SeriesNumber, file.InstanceNumber, file.ImageComments = series_number, number, comment
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    ask("/instances", out.getvalue())


for _ in range(300):
    try:
        print("dcmfetch", importlib.metadata.version("dcmfetch"), "- Orthanc", ask("/system")["Version"])
        break
    except OSError:
        time.sleep(0.1)

for study_id, comment, numbers in (("1", "morning", {1: 4, None: 1, 20001: 1}), ("1", "evening", {1: 2})):
    study = generate_uid()
    for series_number, images in numbers.items():
        series = generate_uid()
        for number in range(1, images + 1):
            image(study, series, series_number, number, study_id, comment)
Path("dcmnodes.cf").write_text(f"archive ORTHANC 127.0.0.1 {dicom} FG\n")


def fetch(name, *arguments):
    Path(name).mkdir()
    done = subprocess.run(["dcmfetch", "-a", "archive", "-p", "P-1", "-s", "all", "-o", name, *arguments],
                          capture_output=True, text=True, timeout=120)
    print("dcmfetch -p P-1 -s all", *arguments, "- exit code", done.returncode, done.stdout + done.stderr)
    return done.returncode


held = ask("/statistics")
print("in Orthanc:", held["CountStudies"], "studies,", held["CountInstances"], "images")
codes = [fetch("files"), fetch("zips", "-z")]
files = {str(path.relative_to("files")): str(dcmread(path).ImageComments) for path in sorted(Path("files").rglob("*.dcm"))}
zips = {path.name: zipfile.ZipFile(path) for path in sorted(Path("zips").iterdir())}
zips = {name: [str(dcmread(BytesIO(file.read(member))).ImageComments) for member in file.namelist()] for name, file in zips.items()}
print("files:", files, "- ZIPs:", zips)
name = "CT-P-1-20250301-1-001"
right = files == {f"{name}/0000{n}.dcm": ["evening", "morning"][n > 2] for n in (1, 2, 3, 4)}
sys.exit(not (right and zips == {name + ".zip": ["evening", "evening"]} and codes == [0, 0] and held["CountInstances"] == 8))
