#!/bin/sh
# xml2dcm-ecg gives two patients one number after a file that it cannot convert, and makes a baby of eight months eight years old.
#
# The program (1.1.10) converts the XML files of GE MUSE to DICOM, with a number in place of each patient's ID. The number is how many ECGs
# it has converted so far. A patient whose file fails (one without waveforms has an error of its own) has got a number by then, and the
# count stays: the next patient gets the same one. The failure is printed; that the ECGs of two patients have one Patient ID from then
# on is not, and the exit code is 0. The age is written in years, whatever its unit (AgeUnits) is, and a patient of unknown sex is F.
# And the filters change places: an ECG that was filtered from 0.16 to 150 Hz has 150 as its lower bound (Filter Low Frequency) and 0.16 as
# the upper one, between which nothing is.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check XML2DCM-ECG==1.1.10 pydicom==2.4.4 numpy==2.4.6 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END' 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
import base64, json, struct, subprocess, sys
from importlib.metadata import version
from pathlib import Path
from pydicom import dcmread

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def waveform(kind, samples):
    data = base64.b64encode(struct.pack("<h", 10) * samples).decode()
    leads = "".join(f"<LeadData><LeadByteCountTotal>{2 * samples}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>"
                    f"<LeadSampleCountTotal>{samples}</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit>"
                    f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadOffsetFirstSample>0</LeadOffsetFirstSample>"
                    f"<FirstSampleBaseline>0</FirstSampleBaseline><LeadSampleSize>2</LeadSampleSize><LeadOff>FALSE</LeadOff>"
                    f"<WaveFormData>{data}</WaveFormData><LeadID>{lead}</LeadID></LeadData>" for lead in LEADS)
    return (f"<Waveform><WaveformType>{kind}</WaveformType><NumberofLeads>8</NumberofLeads><SampleType>CONTINUOUS_SAMPLES</SampleType>"
            f"<SampleBase>500</SampleBase><SampleExponent>0</SampleExponent><HighPassFilter>0.16</HighPassFilter>"
            f"<LowPassFilter>150</LowPassFilter><ACFilter>50</ACFilter>{leads}</Waveform>")


def ecg(path, patient, age, unit, sex, *waveforms):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(
        f"<?xml version='1.0' encoding='ISO-8859-1'?><RestingECG><MuseInfo><MuseVersion>9</MuseVersion></MuseInfo><PatientDemographics>"
        f"<PatientID>{patient}</PatientID><PatientAge>{age}</PatientAge><AgeUnits>{unit}</AgeUnits><Gender>{sex}</Gender>"
        f"<PatientLastName>{patient}</PatientLastName></PatientDemographics><TestDemographics><DataType>RESTING</DataType>"
        f"<AcquisitionDevice>MAC</AcquisitionDevice><AcquisitionTime>10:00:00</AcquisitionTime><AcquisitionDate>01-05-2026</AcquisitionDate>"
        f"<EditTime>11:00:00</EditTime><EditDate>01-05-2026</EditDate></TestDemographics><RestingECGMeasurements>"
        f"<VentricularRate>60</VentricularRate><AtrialRate>60</AtrialRate><PRInterval>150</PRInterval><QRSDuration>90</QRSDuration>"
        f"<QTInterval>400</QTInterval><QTCorrected>400</QTCorrected><PAxis>40</PAxis><RAxis>40</RAxis><TAxis>40</TAxis>"
        f"</RestingECGMeasurements>{''.join(waveforms)}</RestingECG>", encoding="latin-1")


rhythm, median = waveform("Rhythm", 5000), waveform("Median", 600)
# A folder's own files come before those of the folders in it.
ecg("xml/MUSE_20260105_100000_00001.xml", "Adams", 40, "YEARS", "MALE")
ecg("xml/b/MUSE_20260105_110000_00002.xml", "Baker", 8, "MONTHS", "UNKNOWN", rhythm, median)
ecg("xml/b/c/MUSE_20260105_120000_00003.xml", "Adams", 40, "YEARS", "MALE", rhythm, median)
print("xml2dcm-ecg", version("XML2DCM-ECG"))
ran = subprocess.run([Path(sys.executable).with_name("xml2dcm-ecg"), "--project_root", ".", "--data_root", ".", "--ecg_xml_dir", "xml",
                      "--output_dir", "out", "--filename_pattern", r"MUSE_(?P<examination_date>\d{8})_(\d{6})_(\d{5})",
                      "--out_filename_pattern", "ECG_{examination_date}_{seq}"], capture_output=True, text=True)
print([line for line in ran.stdout.splitlines() if line.startswith("Error")], "exit code", ran.returncode)
(table,) = Path("out").glob("*.json")
originals = {row["ecg_dicom_file"]: row["original_mrn"] for row in json.loads(table.read_text()).values()}
seen = {}
for path in sorted(Path("out").rglob("*.dcm")):
    file = dcmread(path)
    channel = file.WaveformSequence[0].ChannelDefinitionSequence[0]
    seen[originals[path.name]] = (file.PatientID, file.PatientAge, file.PatientSex, channel.FilterLowFrequency, channel.FilterHighFrequency)
    print("ECG of", originals[path.name], "- patient, age, sex, lower and upper bound of the filter:", *seen[originals[path.name]])
sys.exit(not (ran.returncode == 0 and seen == {"Adams": ("000000", "040Y", "M", 150, 0.16), "Baker": ("000000", "008Y", "F", 150, 0.16)}))
END
