#!/bin/sh
# fhir-flex notes that a patient agreed to calls and messages if there is a telephone number, and takes the number that is out of use.
#
# The package (2.0.0) turns FHIR's Patient into the record of an application ("Maps a FHIR Patient resource dict to the detailed target
# output format"). FHIR's Patient says nothing of consent: the record has is_consent_to_call and is_consent_to_message all the same,
# true for whoever has any contact. Of several names, addresses and identifiers it takes the first, whatever its use: here the maiden
# name, the address that was moved out of, and the social security number as the medical record number. A number with use "old" becomes
# the patient's telephone. Without "active", which FHIR takes for an active patient, status is "inactive" while active_status is true. The
# patient who died has no word of it, prefers to hear by email, has no email, and may be called.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fhir_flex==2.0.0 fhir.resources==8.3.0 2>"$folder/log"

"$folder/venv/bin/python" - <<'END'
import sys
from importlib.metadata import version
from fhir.resources.R4B.patient import Patient
from fhir_simple.patient_mapping import fhir_patient_to_detailed_json

TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
patient = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [
        {"type": {"coding": [{"system": TYPES, "code": "SS"}]}, "system": "http://hl7.org/fhir/sid/us-ssn", "value": "000-12-3456"},
        {"type": {"coding": [{"system": TYPES, "code": "MR"}]}, "system": "https://clinic.example/patients", "value": "4711"},
    ],
    "name": [
        {"use": "maiden", "family": "Baker", "given": ["Mary"], "period": {"end": "1975-05-01"}},
        {"use": "official", "family": "Adams", "given": ["Mary", "Anne"]},
    ],
    "telecom": [
        {"system": "phone", "use": "old", "value": "617-555-0100", "period": {"end": "2019-12-31"}},
        {"system": "phone", "use": "home", "value": "617-555-0111"},
    ],
    "gender": "female",
    "birthDate": "1950-01-05",
    "deceasedDateTime": "2026-01-02",
    "address": [
        {"use": "old", "line": ["1 Elm Street"], "city": "Salem", "period": {"end": "2019-12-31"}},
        {"use": "home", "line": ["12 Main Street"], "city": "Boston"},
    ],
}
Patient.model_validate(patient)
record = fhir_patient_to_detailed_json(patient)
FIELDS = ("is_consent_to_call", "is_consent_to_message", "is_consent_to_email", "first_name", "middle_name", "last_name", "mrn", "phone",
          "home_phone", "address_line_1", "city", "status", "active_status", "email", "preferred_communication_channel")
print("fhir-flex", version("fhir_flex"), "- the patient is valid to fhir.resources", version("fhir.resources"))
for name in FIELDS:
    print(f"  {name}: {record[name]!r}")
died = [name for name in record if "dece" in name or "dead" in name or "death" in name]
print("  fields of the death:", died)
expected = (True, True, False, "Mary", None, "Baker", "000-12-3456", "617-555-0100", "617-555-0111", "1 Elm Street", "Salem", "inactive", True,
            "", "email")
sys.exit(not (tuple(record[name] for name in FIELDS) == expected and not died and "2026-01-02" not in str(record)))
END
