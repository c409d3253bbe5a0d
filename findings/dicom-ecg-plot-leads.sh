#!/bin/sh
# dicom-ecg-plot prints an ECG's chest leads under other leads' names: V1 is III, V4 is aVF, V5 is V1; a baby of 6 months is 6 years old.
#
# The standard has one list of codes for the leads of an ECG (PS3.16, CID 3001), in which 2:3 to 2:8 are V1 to V6, and 2:61 is III. The
# program (1.4.1) has a list of its own that counts on from II in the order in which leads are printed: 2:3 is III there, 2:8 is V2. It
# trusts the code more than the name that the file gives beside it. So of the twelve curves, six have another lead's name: III,
# aVR, aVL, aVF, V1 and V2 are each there twice, V3 to V6 are missing, and an infarction is seen in another wall of the heart. There is no
# message. Of the age the unit is cut off (006M, as babies have it), and "year old" is put behind the number. Files with the codes of
# another scheme (SCPECG), as some machines write them, have the right names.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicom-ecg-plot==1.4.1 pydicom==3.0.2 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END' 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
import importlib.metadata, sys
import numpy
from ecg import ECG
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

leads = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
names = {"aVR": "AvrAugmentedVoltageRight", "aVL": "AvlAugmentedVoltageLeft", "aVF": "AvfAugmentedVoltageFoot"}


def code(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


channels = []
for lead in leads:
    standard = getattr(codes.cid3001, names.get(lead, "Lead" + lead))
    channel = Dataset()
    channel.ChannelSourceSequence = [code(standard.value, standard.scheme_designator, standard.meaning)]
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = 1, 1
    channel.ChannelSensitivityUnitsSequence = [code("uV", "UCUM", "microvolt")]
    channel.ChannelBaseline, channel.ChannelSampleSkew, channel.WaveformBitsStored = 0, 0, 16
    channels.append(channel)
group = Dataset()
group.WaveformOriginality, group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = "ORIGINAL", 12, 5000
group.SamplingFrequency, group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 500, 16, "SS"
group.ChannelDefinitionSequence = channels
group.WaveformData = numpy.repeat([numpy.arange(12) * 100], 5000, axis=0).astype("<i2").tobytes()
file = Dataset()
file.SOPClassUID, file.SOPInstanceUID = TwelveLeadECGWaveformStorage, generate_uid()
file.StudyInstanceUID, file.SeriesInstanceUID, file.Modality = generate_uid(), generate_uid(), "ECG"
file.PatientID, file.PatientName, file.PatientSex = "P1", "Adams^Mary", "F"
file.PatientBirthDate, file.PatientAge, file.AcquisitionDateTime = "20250705", "006M", "20260105080000"
file.WaveformSequence = [group]
file.file_meta = FileMetaDataset()
file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
file.save_as("ecg.dcm", enforce_file_format=True)

print("dicom-ecg-plot", importlib.metadata.version("dicom-ecg-plot"))
ecg = ECG("ecg.dcm")
ecg.draw("12x1")
ecg.save("ecg.pdf")
figure, axis = ecg._plotter.fig, ecg._plotter.axis
curves = [line for line in axis.lines if len(line.get_xdata()) == 5000]
printed = [text.get_text() for text in axis.texts]
for lead, channel, name in zip(leads, channels, printed):
    source = channel.ChannelSourceSequence[0]
    print(f"{source.CodeValue:>5} {source.CodeMeaning:32} printed as {name}")
head = " ".join(text.get_text() for text in figure.texts).splitlines()
(age,) = [line for line in head if "birthdate" in line]
print(age)
wrong = {lead: name for lead, name in zip(leads, printed) if lead.startswith("V") and lead != name}
sys.exit(not (wrong == dict(V1="III", V2="aVR", V3="aVL", V4="aVF", V5="V1", V6="V2") and "(6 year old)" in age and len(curves) == 12))
END
