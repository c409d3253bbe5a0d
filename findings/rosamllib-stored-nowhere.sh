#!/bin/sh
# rosamllib's StoreSCP answers each image with "Success" and keeps none; also when the function that is to store it has failed.
#
# The class (rosamllib 0.6.3) is "a DICOM Storage SCP ... for handling C-STORE requests, stores the received DICOM files". Started as in its
# first example, it takes every image and drops it: it has no folder, and only the user's own functions see the file. If such a function
# fails, because the disk is full or the name cannot be written, the error goes to the log, and the sender is told 0x0000 all the same. For a
# scanner or an archive this is the word that the image is safe (PS3.4, B.2.3); many delete it then. The standard has A700, "out of
# resources", for this case, and the class has a constant of this name, which it does not use.
#
# Needs python3.11 or newer and its venv; the server is on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
# Of the package's 19 dependencies, these are the ones that its network part loads.
"$folder/venv/bin/pip" install -q --disable-pip-version-check --no-deps rosamllib==0.6.3 2>"$folder/log"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 pynetdicom==3.0.4 pandas==2.3.3 SimpleITK==2.5.7 \
    nibabel==5.4.2 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
HOME="$folder" "$folder/venv/bin/python" - <<'END' 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
import errno, importlib.metadata, os, socket, sys
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from rosamllib.networking import StoreSCP


def image():
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID, file.PatientID = CTImageStorage, generate_uid(), "P-1"
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return file


def send(title, *functions):
    """The statuses that a sender of three images gets, and how many files there are in the folder then."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = StoreSCP(aet="STORE", ip="127.0.0.1", port=port)
    for function in functions:
        server.add_custom_function_store(function)
    before = set(Path().rglob("*"))
    server.start()
    try:
        entity = AE("SCANNER")
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", port, ae_title="STORE")
        statuses = [association.send_c_store(image()).Status for _ in range(3)]
        association.release()
    finally:
        server.stop()
    kept = len(set(Path().rglob("*.dcm")) - before)
    print(f"{title}: the sender is told", *[f"0x{status:04X}" for status in statuses], "- files kept:", kept)
    return statuses, kept


def write(event):
    event.dataset.file_meta = event.file_meta
    event.dataset.save_as(f"{event.dataset.SOPInstanceUID}.dcm", enforce_file_format=True)


def write_on_a_full_disk(event):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


print("rosamllib", importlib.metadata.version("rosamllib"))
found = [send("as in the first example"), send("with a function that stores", write), send("the disk is full", write_on_a_full_disk)]
sys.exit(found != [([0, 0, 0], 0), ([0, 0, 0], 3), ([0, 0, 0], 0)])
END
