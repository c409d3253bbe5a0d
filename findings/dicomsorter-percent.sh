#!/bin/sh
# dicomsorter leaves out the series "BestDiast 70 %" of a heart's CT, and names the folders of "30% systole" after addresses in memory.
#
# The tool (0.1.0a8, with pydicom 2) copies or moves DICOM files into folders, by default one for each series, named after its number
# and description. It fills these into a Python format again and again, so that a % of a description is taken for a placeholder. Phases
# of the heart's cycle are given in per cent, and scanners write them into the description of each series of a heart's CT. "70 %" ends
# the format: no image of the series is copied. "30% systole" has the placeholder "% s", for which the text of an object is written,
# with its address in memory: its images are spread over folders by chance. A series without a number, which may be empty, is left out,
# too. The log has lines such as "ERROR - incomplete format", without a file's name; the progress is 100 %, and the exit code is 0.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicomsorter==0.1.0a8 pydicom==2.4.4 2>"$folder/log"

cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'END'
import importlib.metadata, re, subprocess, sys
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SERIES = {"CTA BestDiast 70 %": 1, "CTA 30% systole": 2, "CTA topogram": 3, "CTA report": None}
study = generate_uid()
for place, (description, series_number) in enumerate(SERIES.items()):
    series = generate_uid()
    for number in range(1, 7):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
        file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = study, series, "P-1"
        file.SeriesDescription, file.SeriesNumber, file.InstanceNumber = description, series_number, number
        file.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        file.file_meta = FileMetaDataset()
        file.file_meta.MediaStorageSOPClassUID, file.file_meta.MediaStorageSOPInstanceUID = file.SOPClassUID, file.SOPInstanceUID
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.is_little_endian, file.is_implicit_VR = True, False
        path = Path("scans", str(place), f"IM{number}.dcm")
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save_as(path, write_like_original=False)

done = subprocess.run(["dicomsorter", "scans", "sorted"], capture_output=True, text=True, timeout=100)
log = sorted(line.partition("ERROR - ")[2] for line in done.stdout.splitlines() if "ERROR" in line)
print("dicomsorter", importlib.metadata.version("dicomsorter"), "- exit code", done.returncode, "- errors:", len(log), *sorted(set(log)))
files = [str(path.relative_to("sorted")) for path in sorted(Path("sorted").rglob("*.dcm"))]
for name in files:
    print(" ", name)
own = [name for name in files if re.fullmatch(r"Series0002_CTA 30_.* object at 0x\w+_ystole/Image \(000\d\).*\.dcm", name)]
plain = [name for name in files if name.startswith("Series0003_CTA topogram/Image (000")]
print("folders of one series:", len({name.split("/")[0] for name in own}))
right = done.returncode == 0 and len(own) == len(plain) == 6 and len(files) == 12
sys.exit(not (right and len(log) == 12 and log.count("incomplete format") == 6))
END
