#!/bin/sh
# Orthanc answers a ZIP with the members that it stored, and says nothing of the others: 200 and [] may mean "none of yours".
#
# POST /instances (1.12.7) takes a ZIP. Members that Orthanc cannot unpack (bzip2, as some archivers write) or that are
# packed once more (file.dcm.gz, a ZIP in the ZIP) are left out; the answer is still 200, and the list has no names by which
# one could tell which. If all are such, it is an empty list. Of a member with another method (LZMA) the whole request is
# refused with 400, although the members before it are stored by then and those behind it are not.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": []}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$port" <<'END'
import gzip, json, sys, time, urllib.error, urllib.request
from io import BytesIO
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZipFile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    try:
        with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)

def instance():
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID = "SAMPLE"
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()

def packed(*members):
    out = BytesIO()
    with ZipFile(out, "w") as archive:
        for number, (method, content) in enumerate(members):
            archive.writestr(f"{number}.dcm", content, method)
    return out.getvalue()

for _ in range(300):
    try:
        print("Orthanc", ask("/system")[1]["Version"])
        break
    except OSError:
        time.sleep(0.1)

def tried(what, *members):
    before = ask("/statistics")[1]["CountInstances"]
    status, answer = ask("/instances", packed(*members))
    held = ask("/statistics")[1]["CountInstances"] - before
    listed = len(answer) if isinstance(answer, list) else answer["Message"]
    print(f"{what}: HTTP {status}, listed: {listed}, stored: {held} of {len(members)}")
    return status, listed, held

def good():
    return ZIP_DEFLATED, instance()

right = tried("one of three with bzip2", good(), (ZIP_BZIP2, instance()), good()) == (200, 2, 2)
right &= tried("one of three gzipped", good(), (ZIP_DEFLATED, gzip.compress(instance())), good()) == (200, 2, 2)
right &= tried("one of three a ZIP", good(), (ZIP_DEFLATED, packed(good())), good()) == (200, 2, 2)
right &= tried("both with bzip2", (ZIP_BZIP2, instance()), (ZIP_BZIP2, instance())) == (200, 0, 0)
right &= tried("one of three with LZMA", good(), (ZIP_LZMA, instance()), good()) == (400, "Bad file format", 1)
sys.exit(not right)
END
