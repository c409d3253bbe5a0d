#!/bin/sh
# anastomosis moves a vaccination that was not done as one that was done, and a drug that must not be given as an active one.
#
# The toolkit (0.8.0) is for the "lossless medical-records migration" from one clinic system to another. It reads FHIR R4 and writes the
# C-CDA document that the other system imports. What turns the meaning of a FHIR resource round stands in members of its own: an
# immunization is not-done, a medication request has doNotPerform, an allergy is refuted, a diagnosis or weight was entered in error.
# It does not read these. The document says that the measles vaccination was given (negationInd false), that ibuprofen is active, and the
# latex allergy, too; an epilepsy that the child never had is a resolved one, and 705 kg are a vital sign. The members are kept as a list
# of paths in a last section, which is text without entries. No error, no warning; the counts are right.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check anastomosis==0.8.0 2>"$folder/log"

cd "$folder"
mkdir export
"$folder/venv/bin/python" - <<'END'
import json, sys
from importlib.metadata import version
from pathlib import Path
from lxml import etree
from anastomosis.deliver.ccda_export import build_ccd
from anastomosis.sources import get_source

def status(kind, code):
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{kind}", "code": code}]}

patient = {"reference": "Patient/p1"}
weight = {"coding": [{"system": "http://loinc.org", "code": "29463-7", "display": "Body weight"}]}
resources = [
    {"resourceType": "Patient", "id": "p1", "name": [{"family": "Adams", "given": ["Scott"]}], "birthDate": "2019-02-03"},
    {"resourceType": "Immunization", "id": "i1", "status": "not-done", "vaccineCode": {"text": "Measles"}, "patient": patient,
        "occurrenceDateTime": "2026-01-05"},
    {"resourceType": "MedicationRequest", "id": "m1", "status": "active", "intent": "order", "doNotPerform": True,
        "medicationCodeableConcept": {"text": "Ibuprofen"}, "subject": patient},
    {"resourceType": "AllergyIntolerance", "id": "a1", "clinicalStatus": status("allergyintolerance-clinical", "active"),
        "verificationStatus": status("allergyintolerance-verification", "refuted"), "code": {"text": "Latex"}, "patient": patient},
    {"resourceType": "Condition", "id": "c1", "verificationStatus": status("condition-ver-status", "entered-in-error"),
        "code": {"text": "Epilepsy"}, "subject": patient},
    {"resourceType": "Observation", "id": "o1", "status": "entered-in-error", "code": weight, "subject": patient,
        "category": [status("observation-category", "vital-signs")], "effectiveDateTime": "2026-01-05T09:00:00Z",
        "valueQuantity": {"value": 705, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}},
]
bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource} for resource in resources]}
Path("export/export.json").write_text(json.dumps(bundle))

print("anastomosis", version("anastomosis"))
[record] = get_source("fhir-r4").load(Path("export"))
document = etree.fromstring(build_ccd(record))
hl7 = {"h": "urn:hl7-org:v3"}
found = {}
for section in document.iterfind(".//h:section", hl7):
    title = section.findtext("h:title", namespaces=hl7)
    entry = section.find("h:entry/*", hl7)
    if entry is not None:
        text = " ".join(" ".join(section.find("h:text", hl7).itertext()).split())
        found[title] = text, entry.get("negationInd"), entry.find("h:statusCode", hl7).get("code")
        print(f"{title}: {found[title][0]}, negationInd {found[title][1]}, status {found[title][2]}")
kept = " ".join(" ".join(section.find("h:text", hl7).itertext()) for section in document.iterfind(".//h:section", hl7)
    if "Preserved" in section.findtext("h:title", namespaces=hl7))
words = {word: word in kept for word in ("not-done", "doNotPerform", "refuted", "entered-in-error")}
print("in the text of the last section:", words)
sys.exit(not (found == {
    "Immunizations": ("Measles", "false", "completed"), "Medications": ("Ibuprofen", None, "active"),
    "Allergies": ("Latex", None, "active"), "Problems": ("Epilepsy (resolved)", None, "completed"),
    "Vital Signs": ("Body weight 705 kg", None, "completed"),
} and all(words.values())))
END
