#!/bin/sh
# hl7conv2 reads the unit 10^9/L as 10, and of a result with a bar in its text it writes the unit into the column of the normal range.
#
# The package (0.2.5, Rust) converts HL7 messages to JSON and back, with "full support for HL7 escape sequences". In HL7 a unit such as 10^9/L
# is written 10\S\9/L, since ^ separates the parts of a field. hl7conv2 decodes that first and looks for separators then: the unit is 10, and
# 9/L the next part, which is the unit's name. On the way back there are two texts. hl7_string_unescaped has the bar of "1 | 2" as it is,
# so that each value behind it moves on by a field: unit, normal range, flag. hl7_string escapes the header's own separators, too:
# a receiver that goes by them takes the letter R for the escape character. There is no error.
#
# Needs python3.9 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check hl7conv2==0.2.5 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

"$folder/venv/bin/python" - <<'END'
import importlib.metadata, sys
from hl7conv2 import Hl7Json, JsonHl7

HEADER = r"MSH|^~\&|LAB|HOSPITAL|EHR|HOSPITAL|20260105083000||ORU^R01^ORU_R01|M-1|P|2.5||||||UNICODE UTF-8"
COLUMNS = {"5": "value", "6": "unit", "6.1": "unit", "6.2": "name of the unit", "7": "normal range", "8": "flag"}


def result(message):
    """The result of a message as hl7conv2 reads it."""
    segment = Hl7Json(message).hl7_json[-1]
    return {name: segment[key] for key, name in COLUMNS.items() if segment.get(key)}


def message(value, unit):
    return "\r".join([HEADER, "PID|1||P-1^^^HOSPITAL^MR||Adams^Mary", f"OBX|1|ST|6690-2^Leukocytes^LN||{value}|{unit}|4-10|N|||F"])


print("hl7conv2", importlib.metadata.version("hl7conv2"))
unit = result(message("6.1", r"10\S\9/L"))
print(r"6.1 in 10\S\9/L:", unit)
text = message(r"1 \F\ 2", "mg")
print(r"the value 1 \F\ 2:", result(text))
back = JsonHl7(Hl7Json(text).hl7_json)
moved = result(back.hl7_string_unescaped.replace("\n", "\r"))
print("as hl7_string_unescaped:", moved)
header = back.hl7_string.splitlines()[0]
print("MSH-2 of hl7_string:", header.split("|")[1])
sys.exit(not (
    unit == {"value": "6.1", "unit": "10", "name of the unit": "9/L", "normal range": "4-10", "flag": "N"}
    and result(text) == {"value": "1 | 2", "unit": "mg", "normal range": "4-10", "flag": "N"}
    and moved == {"value": "1 ", "unit": " 2", "normal range": "mg", "flag": "4-10"}
    and header.split("|")[1].startswith("^\\R\\")
))
END
