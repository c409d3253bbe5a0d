#!/bin/sh
# brightohir files Baker's sodium under Adams, and gives Adams the telephone number "617": it leaves out the empty parts of HL7 fields.
#
# The package (2.1.2) converts HL7 version 2 to FHIR R5. The parts of a field have their meaning by their place: 12 Main Street^^Boston^MA
# is a street, no second line, a city, a state. It takes the list of those that are not empty, so that each part behind an empty one moves
# up: the city is MA, the country H, the type of a name (L) a second given name. A patient's ID loses who has assigned it, and the IDs of
# two hospitals look alike. A telephone number is its area code, as an e-mail address; a drug without a code gets its name as one.
# An ORU message may have the results of several patients (PATIENT_RESULT repeats): all are the first one's. No error
# or warning tells of it.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check brightohir==2.1.2 hl7apy==1.3.5 fhir.resources==8.3.0 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

"$folder/venv/bin/python" - <<'END'
import importlib.metadata, sys
from brightohir.convert_v2 import v2_to_r5

print("brightohir", importlib.metadata.version("brightohir"))


def convert(kind, *segments):
    header = rf"MSH|^~\&|LAB|HOSPITAL|EHR|HOSPITAL|20260105083000||{kind}|M-1|P|2.5"
    resources = [entry["resource"] for entry in v2_to_r5("\r".join([header, *segments]))["entry"]]
    return lambda kind: [resource for resource in resources if resource["resourceType"] == kind]


home = "12 Main Street^^Boston^MA^02110^USA^H"
phone = "^PRN^PH^^1^617^5551234"
patient = convert(
    "ADT^A01^ADT_A01", "EVN||20260105083000", f"PID|1||4711^^^HOSPITAL^MR||Adams^Mary^^^^^L||19710203|F|||{home}||{phone}",
    "PV1|1|I", "AL1|1|DA|^Penicillin^L|SV",
)
adams = patient("Patient")[0]
seen = {
    "4711^^^HOSPITAL^MR": adams["identifier"],
    "Adams^Mary^^^^^L": adams["name"],
    home: adams["address"],
    phone: adams["telecom"],
    "^Penicillin^L": patient("AllergyIntolerance")[0]["code"]["coding"],
}
for field, result in seen.items():
    print(field, "->", *result)

both = convert(
    "ORU^R01^ORU_R01",
    "PID|1||4711^^^HOSPITAL^MR||Adams^Mary", "OBR|1|||2951-2^Sodium^LN", "OBX|1|NM|2951-2^Sodium^LN||140|mmol/L|||||F",
    "PID|2||4712^^^HOSPITAL^MR||Baker^John", "OBR|1|||2951-2^Sodium^LN", "OBX|1|NM|2951-2^Sodium^LN||118|mmol/L|||||F",
)
names = {"Patient/" + patient["id"]: patient["name"][0]["family"] for patient in both("Patient")}
results = [(names[value["subject"]["reference"]], value["valueQuantity"]["value"]) for value in both("Observation")]
print("a message with Adams' sodium of 140 and Baker's of 118 ->", results)
sys.exit(not (
    seen["4711^^^HOSPITAL^MR"] == [{"value": "4711"}]
    and seen["Adams^Mary^^^^^L"] == [{"family": "Adams", "given": ["Mary", "L"]}]
    and [seen[home][0][part] for part in ("line", "city", "country")] == [["12 Main Street", "Boston"], "MA", "H"]
    and [seen[phone][0][part] for part in ("value", "system")] == ["617", "email"]
    and seen["^Penicillin^L"] == [{"code": "Penicillin", "display": "L"}]
    and sorted(names.values()) == ["Adams", "Baker"] and results == [("Adams", 140.0), ("Adams", 118.0)]
))
END
