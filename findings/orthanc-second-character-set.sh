#!/bin/sh
# Orthanc reads no text of a second character set: Kanji of a standard Japanese file become ASCII letters.
#
# SpecificCharacterSet may name several character sets, between which escape sequences switch within a value (PS3.5, 6.1.2.5;
# its annex H.3.2 has the Japanese example that is tried here, with ISO 2022 IR 13 and ISO 2022 IR 87). Orthanc 1.12.7 decodes
# a value as a whole by the first one, then takes the escape sequences away: the bytes of the Kanji stay as the letters that
# they are in ASCII. The same happens to a Patient ID, of which Orthanc's ids are made, so a client that reads the file by the
# standard computes another id. With an empty first character set (annex H.3.1) the same name is right.
#
# Needs Debian on amd64 with apt, python3 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder; the file
# is one of pydicom's.
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
import hashlib, json, sys, time, urllib.request
from io import BytesIO
from pydicom import dcmread
from pydicom.data import get_charset_files

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def ask(path, body=None):
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return json.load(answer)

for _ in range(300):
    try:
        print("Orthanc", ask("/system")["Version"])
        break
    except OSError:
        time.sleep(0.1)

def tried(name, change=None):
    dataset = dcmread(get_charset_files(name)[0])
    if change:
        change(dataset)
    out = BytesIO()
    dataset.save_as(out)
    stored = ask("/instances", out.getvalue())
    return dataset, ask(f"/patients/{stored['ParentPatient']}")

right = True
for name in ("chrH31.dcm", "chrH32.dcm"):
    dataset, patient = tried(name)
    written, read = str(dataset.PatientName), patient["MainDicomTags"]["PatientName"]
    print(name, list(dataset.SpecificCharacterSet), "is", written, "and Orthanc reads", read)
    right &= (written == read) == (name == "chrH31.dcm")

dataset, patient = tried("chrH32.dcm", lambda each: setattr(each, "PatientID", "\u5c71\u7530"))
read = patient["MainDicomTags"]["PatientID"]
by_standard = hashlib.sha1("\u5c71\u7530".encode()).hexdigest()
print("the Patient ID \u5c71\u7530 is", read, "to Orthanc, and its id is that of the standard text:", patient["ID"].replace("-", "") == by_standard)
right &= read == ";3ED" and patient["ID"].replace("-", "") != by_standard
sys.exit(not right)
END
