#!/bin/sh
# flat-fhir writes 98.6 degrees Fahrenheit into the column body_temperature_c, and makes 98.6 Celsius of it in FHIR; 66 inches are 66 cm.
#
# The program (0.1.4) makes a workbook of FHIR resources, and FHIR of the workbook. It names a column after the code and the code's usual
# unit, and leaves the unit of the value out: what US Core allows ([degF], [in_i], [lb_av]) stands under _c, _cm and _kg, and the FHIR that
# it makes of the workbook has 98.6 with the unit Cel. "<" before a value is left out, too: a troponin of <6 is 6. Of an
# allergy the first reaction is left, and not that it was refuted. A workbook is meant for one patient, by its README; `merge`, for bundles
# of several providers, takes two patients without a word, no row says whose it is, and nothing in the FHIR made of it names a patient.
# The program ends with 0, and its line says that all sheets were written.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" flat-fhir==0.1.4 pandas==2.3.3 openpyxl==3.1.5
cd "$folder"

venv/bin/python - <<'END'
import json, subprocess, sys
from importlib.metadata import version
from pathlib import Path
from openpyxl import load_workbook

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"

def observation(number, patient, category, code, name, value, unit, **more):
    return {"resourceType": "Observation", "id": number, "status": "final", "subject": {"reference": f"Patient/{patient}"},
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": code, "display": name}]}, "effectiveDateTime": "2026-01-05T09:00:00Z",
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit, **more}}

def allergy(number, patient, substance, verification, *manifestations):
    return {"resourceType": "AllergyIntolerance", "id": number, "patient": {"reference": f"Patient/{patient}"}, "code": {"text": substance},
        "clinicalStatus": {"coding": [{"code": "active", "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"}]},
        "verificationStatus": {"coding": [{"code": verification,
            "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"}]},
        "reaction": [{"manifestation": [{"text": text}]} for text in manifestations], "recordedDate": "2026-01-05"}

def save(name, patient, family, resources):
    person = {"resourceType": "Patient", "id": patient, "name": [{"family": family, "given": ["Mary"]}]}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in [person, *resources]]}
    Path(name).write_text(json.dumps(bundle))

save("one.json", "p1", "Adams", [
    observation("o1", "p1", "vital-signs", "8310-5", "Body temperature", 98.6, "[degF]"),
    observation("o2", "p1", "vital-signs", "8302-2", "Body height", 66, "[in_i]"),
    observation("o3", "p1", "vital-signs", "29463-7", "Body weight", 154, "[lb_av]"),
    observation("o4", "p1", "laboratory", "67151-1", "Troponin T", 6, "ng/L", comparator="<"),
    allergy("a1", "p1", "Penicillin", "refuted", "Rash", "Anaphylaxis")])
save("two.json", "p2", "Baker", [
    observation("o5", "p2", "vital-signs", "8310-5", "Body temperature", 37.0, "Cel"),
    allergy("a2", "p2", "Latex", "confirmed", "Rash")])

def run(*arguments):
    done = subprocess.run(["venv/bin/flat-fhir", *arguments], capture_output=True, text=True)
    print(*arguments, "- exit code", done.returncode, "-", done.stdout.strip(), done.stderr[-300:])
    return done.returncode

def rows(sheet):
    names, *lines = load_workbook("both.xlsx")[sheet].iter_rows(values_only=True)
    return list(names), [dict(zip(names, line)) for line in lines]

print("flat-fhir", version("flat-fhir"))
codes = [run("merge", "one.json", "two.json", "-o", "both.xlsx")]
names, vitals = rows("vitals")
measured = {name: [line[name] for line in vitals if line[name] is not None] for name in names if name.startswith("body_")}
print("vitals:", measured)
lab_names, labs = rows("labs")
[troponin] = [name for name in lab_names if "troponin" in name]
print("labs:", troponin, [line[troponin] for line in labs])
allergy_names, allergies = rows("allergies")
print("allergies:", [(line["substance"], line["reaction"], line["clinical_status"]) for line in allergies], "- columns:", *allergy_names)
codes.append(run("unflatten", "both.xlsx", "-o", "back.json"))
back = [entry["resource"] for entry in json.loads(Path("back.json").read_text())["entry"]]
quantities = {one["id"]: one["valueQuantity"] for one in back if one["resourceType"] == "Observation"}
values = {name: (one["value"], one.get("unit")) for name, one in quantities.items()}
print("back in FHIR:", values)
owners = [one for one in back if "subject" in one or "patient" in one]
print("resources that name their patient:", len(owners), "of", len(back) - 2)
right = codes == [0, 0] and set(measured["body_temperature_c"]) == {98.6, 37} and measured["body_height_cm"] == [66]
right &= measured["body_weight_kg"] == [154] and [line[troponin] for line in labs] == [6]
right &= {line["substance"]: (line["reaction"], line["clinical_status"]) for line in allergies} == {
    "Penicillin": ("Rash", "active"), "Latex": ("Rash", "active")}
right &= not {"p1", "p2"} & {value for line in [*vitals, *labs, *allergies] for value in line.values()} and owners == []
sys.exit(not (right and values["o1"] == (98.6, "Cel") and values["o2"] == (66, "cm") and values["o3"] == (154, "kg")))
END
