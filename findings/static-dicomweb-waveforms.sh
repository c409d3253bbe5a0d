#!/bin/sh
# static-dicomweb-creator keeps one of an ECG's two curves: both are written to one file, and neither is linked where it belongs.
#
# The program makes a folder of files that a plain web server gives out as DICOMweb does. Values of more than 50 KB go to files of
# their own, with a link in the metadata (BulkDataURI; PS3.18, F.2.2). For a value inside a sequence the file is named after the
# attribute alone (0.2.11), so that the second item's replaces the first's, and the link is put on the outermost level, where the
# standard has no such attribute; the items have "" as their link. So of the groups of a 12-lead ECG (10 seconds at 500 per second
# are 120 KB) the last one's curve is left; of several lookup tables for the brightness of an X-ray it is the last table. There is no
# error and no warning, and the numbers of studies and images are right.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check static-dicomweb-creator==0.2.11 pydicom==3.0.2 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import json, struct, subprocess, sys
from importlib.metadata import version
from pathlib import Path
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

CHANNELS, SAMPLES = 12, 5_000


def group(label, value):
    item = Dataset()
    item.MultiplexGroupLabel, item.WaveformOriginality = label, "ORIGINAL"
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples, item.SamplingFrequency = CHANNELS, SAMPLES, 500
    item.WaveformBitsAllocated, item.WaveformSampleInterpretation = 16, "SS"
    item.add_new("WaveformData", "OW", struct.pack("<h", value) * (CHANNELS * SAMPLES))
    return item


file = Dataset()
file.SOPClassUID, file.SOPInstanceUID = TwelveLeadECGWaveformStorage, generate_uid()
file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
file.PatientID, file.PatientName, file.Modality, file.SeriesNumber = "P1", "Adams^Mary", "ECG", 1
file.WaveformSequence = [group("at rest", 1), group("after exercise", 2)]
file.file_meta = FileMetaDataset()
file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
Path("disc").mkdir()
file.save_as("disc/ecg.dcm", enforce_file_format=True)

print("static-dicomweb-creator", version("static-dicomweb-creator"))
subprocess.run([sys.executable, "-m", "static_dicomweb_creator", "disc", "/dicom-web/", "web"], check=True, capture_output=True, timeout=100)
(metadata,) = Path("web").rglob("instances/*/metadata/index.json")
written = json.loads(metadata.read_text())
links = {item["003A0020"]["Value"][0]: item["54001010"]["BulkDataURI"] for item in written["54000100"]["Value"]}
outermost = written["54001010"]["BulkDataURI"]
curves = sorted(path for path in Path("web").rglob("*.bin"))
values = {struct.unpack("<h", path.read_bytes().split(b"\r\n\r\n", 1)[1][:2])[0] for path in curves}
for label, link in links.items():
    print(f"{label}: link to its curve: {link!r}")
print(f"outermost level: ...{outermost[-18:]!r} - files of curves: {len(curves)}, with the curve of group {values}")
right = links == {"at rest": "", "after exercise": ""} and outermost.endswith("/bulkdata/54001010")
sys.exit(not (right and len(curves) == 1 and values == {2}))
END
