#!/bin/sh
# ecg2dcm's second run over a folder leaves the new ECG out, writes an old one twice, and gives its patient the number of another.
#
# `ecg2dcm` (1.3.1) turns a folder of GE MUSE's XML files into DICOM. It numbers the ECGs of a day in the order of their names, writes
# that number into the new name, and passes over what "already exists". When an ECG is added whose name comes before others of its
# day, it gets the number, and the name, of one that is there: it is left out, and the one behind it is written once more under the next
# number, with new UIDs. It gives each patient a number too, in the order in which they are met, and begins at 1 in each run. So
# in one folder 000001 is Adams in the files of the first run, and Baker in those of the second. What is passed over is neither converted
# nor refused in the last line, and the exit code is 0. (The README calls the number "a per-run surrogate".)
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check ecg2dcm==1.3.1 pydicom==2.4.4 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END' 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
import base64, importlib.metadata, re, subprocess, sys
from pathlib import Path
import numpy
from pydicom import dcmread

Path("muse").mkdir()
rates = {"Adams": 61, "Baker": 72, "Clark": 83}


def ecg(name, hour):
    leads = "".join(
        f"<LeadData><LeadSampleCountTotal>5000</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit>"
        f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{lead}</LeadID><WaveFormData>"
        f"{base64.b64encode(numpy.zeros(5000, '<i2').tobytes()).decode()}</WaveFormData></LeadData>"
        for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"))
    Path(f"muse/MUSE_20260105_{hour}0000_00001.xml").write_text(
        f"<RestingECG><PatientDemographics><PatientID>{name[0]}-1</PatientID><PatientLastName>{name}</PatientLastName>"
        f"<PatientAge>50</PatientAge></PatientDemographics><TestDemographics><AcquisitionDate>01-05-2026</AcquisitionDate>"
        f"<AcquisitionTime>{hour}:00:00</AcquisitionTime></TestDemographics><RestingECGMeasurements><VentricularRate>{rates[name]}"
        f"</VentricularRate></RestingECGMeasurements><Waveform><WaveformType>Rhythm</WaveformType><SampleBase>500</SampleBase>"
        f"<SampleExponent>0</SampleExponent>{leads}</Waveform></RestingECG>")


def run():
    ran = subprocess.run(
        [Path(sys.executable).with_name("ecg2dcm"), "--project_root", ".", "--data_root", ".", "--ecg_xml_dir", "muse",
         "--output_dir", "dicom", "--filename_pattern", r"MUSE_(?P<examination_date>\d{8})_(?P<time>\d{6})_(?P<seq>\d{5})",
         "--out_filename_pattern", "ECG_{examination_date}_{seq}"], capture_output=True, text=True)
    for line in ran.stdout.splitlines():
        if "exists" in line or "converted" in line:
            print("  says:", line)
    names = {rate: name for name, rate in rates.items()}
    files = [dcmread(path) for path in sorted(Path("dicom").rglob("*.dcm"))]
    found = [(names[int(file.WaveformAnnotationSequence[0].NumericValue)], file.PatientID) for file in files]
    print("  in the folder (whose ECG, by its heart rate, and Patient ID):", found)
    return ran.returncode, found, len({file.SOPInstanceUID for file in files}), ran.stdout


print("ecg2dcm", importlib.metadata.version("ecg2dcm"))
ecg("Adams", 10)
ecg("Baker", 11)
print("first run:")
first = run()
ecg("Clark", "09")
print("second run, after an ECG of Clark's at nine:")
second = run()
right = first[:3] == (0, [("Adams", "000001"), ("Baker", "000002")], 2)
again = [("Adams", "000001"), ("Baker", "000002"), ("Baker", "000001")]
sys.exit(not (right and second[:3] == (0, again, 3) and re.search(r"1 converted, 0 refused", second[3])))
END
