#!/bin/sh
# hl7types sends on each coded result as a text: "3092008^Staphylococcus aureus^SCT" has no code any more, and a PDF is no PDF.
#
# The package (0.9.5) has HL7's messages as Python models, "generated directly from the HL7 specification", decodes and encodes them. What
# kind of value OBX-5 holds, a code, a comparison, a file, is said by OBX-2, and its components belong to that kind. The models have a
# text there: the separators between the components are taken for letters of the text, and are escaped when the message is written.
# A program that decodes a laboratory's message, changes a name and sends it on, sends 3092008\S\Staphylococcus aureus\S\SCT, one
# component; of "<" and 0.01 it makes the text <^0.01. A text that holds a ^ of its own, the 10^9 of a unit, looks the same as they do
# in the model, so that a program cannot tell them apart there. In XML the same texts stand where CE.1, SN.2 and ED.5 belong.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check hl7types==0.9.5 hl7==0.4.5 2>"$folder/log"

"$folder/venv/bin/python" - <<'END'
import sys, warnings
from importlib.metadata import version
import hl7, hl7types

warnings.simplefilter("error")
WIRE = "\r".join([
    r"MSH|^~\&|LAB|HOSPITAL|EHR|CLINIC|20260105083000||ORU^R01^ORU_R01|M-1|P|2.5.1",
    "PID|1||P-1^^^HOSPITAL^MR||Adams^Mary||19500105|F",
    "OBR|1||A-1|24323-8^Comprehensive panel^LN",
    "OBX|1|CE|600-7^Bacteria identified^LN||3092008^Staphylococcus aureus^SCT||||||F",
    "OBX|2|SN|6598-7^Troponin T^LN||<^0.01|ug/L|||||F",
    "OBX|3|ED|11502-2^Laboratory report^LN||LAB^application^pdf^Base64^JVBERi0xLjQK||||||F",
    r"OBX|4|ST|26515-7^Platelets^LN||250 10\S\9/L||||||F",
])

def results(wire):
    """The components of each result, as another reader of HL7 takes them."""
    found = []
    for segment in hl7.parse(wire).segments("OBX"):
        field = segment[5]
        parts = field[0] if isinstance(field[0], hl7.Container) else [field[0]]
        found.append((str(segment[2]), [str(part) for part in parts]))
    return found

message = hl7types.decode_er7(WIRE)
message.PATIENT_RESULT[0].PATIENT.PID.pid_5[0].xpn_2 = "Mary Anne"
sent = hl7types.encode_er7(message)
print("hl7types", version("hl7types"))
model = [part.OBX.obx_5 for part in message.PATIENT_RESULT[0].ORDER_OBSERVATION[0].OBSERVATION]
for before, held, after in zip(results(WIRE), model, results(sent), strict=True):
    print(before[0], "came as", before[1], "- in the model", held, "- went out as", after[1])
print(*[line for line in sent.split("\r") if line[:3] in ("PID", "OBX")], sep="\n")
xml = hl7types.encode_xml(message)
print(*[line.strip() for line in xml.splitlines() if "OBX.5" in line], sep="\n")
sys.exit(not (
    [len(parts) for _, parts in results(WIRE)] == [3, 2, 5, 1] and [len(parts) for _, parts in results(sent)] == [1, 1, 1, 1]
    and model == [["3092008^Staphylococcus aureus^SCT"], ["<^0.01"], ["LAB^application^pdf^Base64^JVBERi0xLjQK"], ["250 10^9/L"]]
    and r"||3092008\S\Staphylococcus aureus\S\SCT||" in sent and r"||<\S\0.01|" in sent and r"\S\pdf\S\Base64\S\JVBERi0xLjQK|" in sent
    and "Adams^Mary Anne" in sent and "<OBX.5>3092008^Staphylococcus aureus^SCT</OBX.5>" in xml
))
END
