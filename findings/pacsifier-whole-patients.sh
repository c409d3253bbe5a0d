#!/bin/sh
# PACSIFIER saves all images of a patient in the folder of each series that it is to fetch, those of other days among them.
#
# The program (1.0.0) searches an archive for the series of a list (C-FIND), and fetches each into a folder of its own (C-MOVE). The
# request is one for the level PATIENT, on which the standard has the Patient ID as the only key (PS3.4, C.6.1); it names study and
# series too, and Orthanc passes over them: it sends the whole patient, once for each series. So the folder "head" of 2026 holds the
# neck, and the head of 2025; the log has "True" under Completed. If the list has no Patient ID (all of one day), nothing comes and
# the folders are empty; if a description has a space, nothing is found. The exit code is 0 each time.
#
# Needs Debian on amd64 with apt and dcmtk, python3.11 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
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
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pacsifier==1.0.0 2>"$folder/log"

set -- $("$folder/venv/bin/python" -c 'import socket
held = [socket.socket() for _ in range(3)]
print(*(s.bind(("127.0.0.1", 0)) or s.getsockname()[1] for s in held))')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $1, "DicomPort": $2,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomModalities": {"client": ["CLIENT", "127.0.0.1", $3]}}
END
cat >"$folder/pacsifier.json" <<END
{"server_address": "127.0.0.1", "port": $2, "server_AET": "ORTHANC", "AET": "CLIENT", "move_AET": "CLIENT", "move_port": $3,
 "batch_size": 100, "batch_wait_time": 0}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

PATH="$folder/venv/bin:$PATH" python -W ignore - "$folder" "$1" <<'END'
import io, json, subprocess, sys, time, urllib.request
from importlib.metadata import version
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

folder, base = Path(sys.argv[1]), f"http://127.0.0.1:{sys.argv[2]}"


def http(path, body=None):
    return json.load(urllib.request.urlopen(urllib.request.Request(base + path, data=body), timeout=60))


def image(patient, day, study, series, description, number):
    file = Dataset()
    file.is_little_endian, file.is_implicit_VR = True, False
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = study, series
    file.PatientID = file.PatientName = patient
    file.Modality, file.StudyDate, file.StudyTime = "CT", day, "101112"
    file.SeriesNumber, file.SeriesDescription, file.InstanceNumber = description[0], description[1], number
    file.Rows = file.Columns = file.SamplesPerPixel = 1
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.PhotometricInterpretation, file.PixelData = "MONOCHROME2", bytes(2)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = io.BytesIO()
    file.save_as(content, write_like_original=False)
    return content.getvalue()


def fetch(name, table):
    """Answer for each folder of a series what images it has, as day and description, and how often each of them."""
    (folder / "list.csv").write_text(table)
    command = ["pacsifier", "--save", "-c", folder / "pacsifier.json", "-q", folder / "list.csv", "-d", folder / name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found = {}
    for place in sorted((folder / name).glob("sub-*/ses-*/*")):
        images = [dcmread(path, stop_before_pixels=True) for path in place.iterdir()]
        found[str(place.relative_to(folder / name))] = sorted({f"{one.StudyDate[:4]} {one.SeriesDescription}" for one in images})
        print(f"  {place.relative_to(folder / name)}: {len(images)} images", *found[str(place.relative_to(folder / name))], sep=", ")
    log = folder / name / "logs/pacsifier_log.csv"
    completed = log.read_text().count(",True") if log.exists() else None
    print(f"  series that the log calls completed: {completed}, exit code {done.returncode}")
    return found, completed


deadline = time.monotonic() + 60
while True:
    try:
        http("/system")
        break
    except OSError:
        assert time.monotonic() < deadline
        time.sleep(0.2)
for patient, day in [("P1", "20260105"), ("P1", "20250202"), ("P2", "20260105")]:
    study = generate_uid()
    for description in [(1, "head"), (2, "neck"), (3, "hip joint")]:
        series = generate_uid()
        for number in (1, 2):
            http("/instances", image(patient, day, study, series, description, number))
print("PACSIFIER", version("pacsifier"), "- two images in each series")
print("P1 of 2026-01-05, series 'head':")
one, completed = fetch("one", "PatientID,StudyDate,SeriesDescription\nP1,20260105,head\n")
whole = sorted(f"{year} {name}" for year in (2025, 2026) for name in ("head", "neck", "hip joint"))
right = one == {"sub-P1/ses-20260105101112/00001-head": whole} and completed == 1
print("all of 2026-01-05:")
day, completed = fetch("day", "StudyDate\n20260105\n")
right &= len(day) == 6 and not any(day.values()) and completed == 0
print("P1, series 'hip joint':")
right &= fetch("space", "PatientID,SeriesDescription\nP1,hip joint\n") == ({}, None)
sys.exit(not right)
END
