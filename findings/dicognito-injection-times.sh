#!/bin/sh
# dicognito moves a PET's scan by hours, and leaves the time of the injection as it was: the patient's dose no longer fits.
#
# The anonymizer moves all dates and times of a patient by one number of hours, which is random. A time (VR TM) goes along only
# where an attribute of the same name with "Date" stands beside it. The time of the injection has none (Radiopharmaceutical
# Start Time, in its sequence; PS3.3, C.8.9.2), so it stays. What the tissue takes up (SUV) is computed from the time between the
# two, by which the dose has decayed: an hour before, up to a day afterwards, or less than nothing. Each patient's factor is
# another one, and nothing in the file shows it. Exit code 0, no warning.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicognito==0.19.0 pydicom==3.0.2 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import subprocess, sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

folder = Path(sys.argv[1])
injection = Dataset()
injection.RadiopharmaceuticalStartTime = "100000"
injection.RadionuclideHalfLife, injection.RadionuclideTotalDose = "6586.2", "350000000"
file = Dataset()
file.SOPClassUID, file.SOPInstanceUID = PositronEmissionTomographyImageStorage, generate_uid()
file.StudyInstanceUID, file.SeriesInstanceUID, file.Modality = generate_uid(), generate_uid(), "PT"
file.PatientID, file.PatientName = "P-1", "Adams^Mary"
file.SeriesDate, file.SeriesTime = "20260105", "110000"
file.RadiopharmaceuticalInformationSequence = [injection]
file.file_meta = FileMetaDataset()
file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
file.save_as(folder / "pet.dcm", enforce_file_format=True)

def hours(of):
    injected = of.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime
    apart = datetime.strptime(of.SeriesTime, "%H%M%S") - datetime.strptime(injected, "%H%M%S")
    print(f"scan {of.SeriesDate} {of.SeriesTime}, injection {injected}: {apart.total_seconds() / 3600:+g} hours,", end=" ")
    left = 0.5 ** (apart.total_seconds() / 6586.2)
    print(f"left of the dose: {left:.4g}")
    return apart.total_seconds() / 3600

print("dicognito", version("dicognito"))
print("before:", end=" ")
right = hours(file) == 1
seen = set()
for seed in ("1", "2", "3", "4"):
    to = folder / seed
    program = [sys.executable, "-m", "dicognito", "--seed", seed, "--output-directory", to, folder / "pet.dcm"]
    done = subprocess.run(program, capture_output=True, timeout=120)
    (path,) = to.iterdir()
    anonymous = dcmread(path)
    print(f"seed {seed}, exit code {done.returncode}:", end=" ")
    seen.add(hours(anonymous))
    right &= done.returncode == 0 and anonymous.SeriesDate < "20260105"
    right &= anonymous.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime == "100000"
sys.exit(not (right and len(seen) > 1))
END
