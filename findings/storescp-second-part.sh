#!/bin/sh
# storescp --rename-on-eostudy writes the second part of a study over the first: of eight images that it has acknowledged, five are left.
#
# DCMTK's receiver (3.6.9, Debian 13) puts each study into a folder of its own (--sort-on-study-uid), and renames the files when
# the study is complete: CT000001, CT000002 ... A study is complete for it when an image of another study comes, or when nothing has come
# for some seconds (--eostudy-timeout). Reformatted series, dose reports and what a scanner sends once more come later; they go into the
# same folder, the numbers begin at 1 again, and what is there is replaced. So it is, too, if two scanners send at the same time.
# The manual says that the numbers start at 000001, and that more may come to a folder later; it does not say that files are replaced then.
# Each image was answered with "Success", by which the sender may delete it. There is no message.
#
# Needs Debian on amd64 with apt, python3 and its venv. DCMTK is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
(. "$here/scripts/_environment" && "$bin/python" -m fm_pipeline.sandbox.programs.debian --suite trixie "$folder/debian" \
    dcmtk=3.6.9-5+deb13u3 libdcmtk19=3.6.9-5+deb13u3) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 pynetdicom==3.0.4 2>"$folder/log"

DCMDICTPATH="$folder/debian/usr/share/dcmtk/dicom.dic" "$folder/venv/bin/python" - "$folder" <<'END'
import atexit, socket, subprocess, sys, time
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE

folder = Path(sys.argv[1])
root = folder / "debian"
storescp = [root / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", root / "usr/lib/x86_64-linux-gnu", root / "usr/bin/storescp"]
print(subprocess.run([*storescp, "--version"], capture_output=True, text=True).stdout.split("\n")[0])


def images(study, count, comment):
    series = generate_uid()
    for number in range(1, count + 1):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID, file.PatientID, file.Modality = CTImageStorage, generate_uid(), "P-1", "CT"
        file.StudyInstanceUID, file.SeriesInstanceUID, file.ImageComments = study, series, f"{comment} {number}"
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        yield file


def until(true):
    for _ in range(300):
        if true():
            return
        time.sleep(0.1)
    raise SystemExit("did not happen within 30 seconds")


def there(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def receive(place, *options):
    """Starts storescp; returns it and its port."""
    place.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([*storescp, "--output-directory", place, "--sort-on-study-uid", "study", "--rename-on-eostudy", *options,
                               str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    atexit.register(server.kill)  # if anything fails
    until(lambda: there(port))
    return server, port


def send(port, *files):
    entity = AE("SCANNER")
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port)
    statuses = [association.send_c_store(file).Status for file in files]
    association.release()
    return statuses


def show(title, server, place, statuses):
    server.terminate()
    said = server.communicate()[0].strip()
    kept = {}
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        kept.setdefault(path.parent.name[-4:], []).append(str(dcmread(path).ImageComments))
    print(f"{title}: {len(statuses)} images, answers", *sorted({f"0x{status:04X}" for status in statuses}), said)
    for folder_of, comments in kept.items():
        print(f"  in the folder of the study ...{folder_of}:", *comments, sep=" / ")
    return kept, said


study, other = generate_uid(), generate_uid()
later = folder / "later"
server, port = receive(later, "--eostudy-timeout", "3")
statuses = send(port, *images(study, 5, "source"))
until(lambda: len(list(later.rglob("CT00000*"))) == 5)
statuses += send(port, *images(study, 3, "reformatted"))
until(lambda: not list(later.rglob("CT.*")))
found, said = show("5 images, and 3 more some seconds later", server, later, statuses)
right = statuses == [0] * 8 and not said and list(found.values()) == [
    ["reformatted 1", "reformatted 2", "reformatted 3", "source 4", "source 5"]]

turns = folder / "turns"
server, port = receive(turns)
statuses = []
for uid, comment in ((study, "Adams' first"), (other, "Baker's"), (study, "Adams' second"), (other, "Baker's second")):
    statuses += send(port, *images(uid, 2, comment))
found, said = show("two studies take turns, without a time-out", server, turns, statuses)
right &= statuses == [0] * 8 and not said and found[study[-4:]] == ["Adams' second 1", "Adams' second 2"]
sys.exit(not right)
END
