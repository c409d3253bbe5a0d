#!/bin/sh
# dicomwf gives all electrodes of an EEG one code and no unit: looked up by code, three channels are one, and volts look like microvolts.
#
# The package (0.3.0) writes EEG recordings as DICOM waveforms. A channel's source is a coded entry, whose code and scheme say what it is;
# the meaning is text for the reader's eye, and "shall never be used as a key, index or decision value" (PS3.3, 8.3). dicomwf writes the
# code 1.0 of a scheme PYDICOM for each channel, and the name into the meaning alone. pydicom's Code compares as the standard has it: Fp1 is
# equal to O1, and of a table by code the last channel is left. Channel Sensitivity Units (type 1C beside a sensitivity) is missing: the same
# signal in volts, as MNE gives it in the quick start, and in microvolts gives values that differ by a million, and nothing tells
# which is which. Two recordings of one examination (StudyID and accession number are equal) become two studies: the UID of the study is drawn
# for each file, and cannot be given.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicomwf==0.3.0 pydicom==3.0.2 numpy==2.4.6 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
from datetime import datetime
from importlib.metadata import version
import numpy as np
from dicomwf import (GeneralEquipment, GeneralStudy, Patient, RoutineScalpEEG, RoutineScalpEEGData, Waveform,
                     WaveformIdentification)
from pydicom import dcmread
from pydicom.sr.coding import Code

seconds = np.arange(0, 2, 1 / 200)
names = ["Fp1", "Fp2", "O1"]
microvolts = np.stack([50 * np.sin(6 * seconds), 20 * np.cos(9 * seconds), 5 * np.sin(60 * seconds)], axis=1)


def recorded(number, signal):
    begin = datetime(2026, 1, 5, 10, 10 * number)
    recording = RoutineScalpEEGData(
        Patient("Adams^Mary", "19800102", "F", "P-1"), GeneralStudy("S-1", "20260105", "101000", "A-1"),
        GeneralEquipment("Maker", "EEG", "1", "1"), WaveformIdentification(begin, begin, str(number)),
        Waveform(len(names), 200, names, signal))
    RoutineScalpEEG("1.2.826.0.1.3680043.8.498.", recording).save_as(f"{number}.dcm")
    return dcmread(f"{number}.dcm")


print("dicomwf", version("dicomwf"))
files = [recorded(1, microvolts), recorded(2, microvolts / 1_000_000)]
right = True
for file, unit in zip(files, ("microvolts", "volts")):
    channels = file.WaveformSequence[0].ChannelDefinitionSequence
    sources = [channel.ChannelSourceSequence[0] for channel in channels]
    codes = [Code(source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning, source.CodingSchemeVersion) for source in sources]
    by_code = dict(zip(codes, (source.CodeMeaning for source in sources)))
    units = ["ChannelSensitivityUnitsSequence" in channel for channel in channels]
    highest = file.waveform_array(0).max()
    print(f"{unit}: channels {[source.CodeMeaning for source in sources]}, codes {[(c.value, c.scheme_designator) for c in codes]};",
          f"by code: {list(by_code.values())}; Fp1 is equal to O1: {codes[0] == codes[2]}; highest value {highest:.7g}; unit written: {any(units)}")
    right &= list(by_code.values()) == ["O1"] and codes[0] == codes[2] and len(units) == 3 and not any(units)
ratio = files[0].waveform_array(0).max() / files[1].waveform_array(0).max()
examinations, studies = ({getattr(file, name) for file in files} for name in ("AccessionNumber", "StudyInstanceUID"))
print(f"the same signal, first by second: {ratio:.7g}; examinations: {len(examinations)}, studies: {len(studies)}")
sys.exit(not (right and abs(ratio - 1_000_000) < 1 and len(examinations) == 1 and len(studies) == 2))
END
