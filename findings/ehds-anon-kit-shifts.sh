#!/bin/sh
# ehds-anon-kit moves each result of a patient by days of its own: those of eight days in a row change places. Her telephone and son stay.
#
# The program (0.1.0) de-identifies FHIR for the European Health Data Space, and cites the article for each change. Dates move by up to 90
# days, "so all dates for one patient shift by the same delta", as its code says; but the number of days comes from the id of the result or
# visit, not from the patient's. What came first may come last, and results a day apart are months apart. Periods of results, dates
# without a day and dates as values stay as they are. Of the patient it removes what its table lists: her telephone number, her son's name
# and number, her photograph's address and the hour of her death stay, and so does her real id in each entry's fullUrl and her name in
# what a result links to. Results refer to visits by ids that are gone. The evidence for the authority lists none of this.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check ehds-anon-kit==0.1.0 2>"$folder/log"
cd "$folder"

EHDS_PSEUDO_KEY=an-invented-key venv/bin/python - <<'END'
import json, subprocess, sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

FIRST, COUNT = date(2026, 1, 5), 8
AT = "https://ehr.example/fhir"
mary = {"reference": "Patient/mrn-4711", "display": "Mary Adams"}

def observation(number, **more):
    return {"resourceType": "Observation", "id": number, "status": "final", "code": {"text": "Pain"}, "subject": mary,
            "encounter": {"reference": "Encounter/e1"}, **more}

resources = [
    {"resourceType": "Patient", "id": "mrn-4711", "name": [{"family": "Adams", "given": ["Mary"]}], "birthDate": "1950-03-04",
        "telecom": [{"system": "phone", "value": "617-555-0100"}], "photo": [{"url": "https://ehr.example/mary-adams.png"}],
        "contact": [{"name": {"text": "Tom Adams"}, "telecom": [{"system": "phone", "value": "617-555-0101"}]}],
        "deceasedDateTime": "2026-01-20T04:10:00Z"},
    {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "EMER"}, "subject": mary,
        "period": {"start": "2026-01-05T08:00:00Z", "end": "2026-01-12T18:00:00Z"}},
    *(observation(f"o{at}", effectiveDateTime=f"2026-01-{5 + at:02}T09:00:00Z") for at in range(COUNT)),
    observation("month", effectiveDateTime="2026-01", performer=[mary]),
    observation("period", effectivePeriod={"start": "2026-01-05", "end": "2026-01-07"}, valueDateTime="2026-01-05"),
]
bundle = {"resourceType": "Bundle", "type": "collection", "entry": [
    {"fullUrl": f"{AT}/{one['resourceType']}/{one['id']}", "resource": one} for one in resources]}
Path("bundle.json").write_text(json.dumps(bundle))
Path("custody.yaml").write_text("env_var: EHDS_PSEUDO_KEY\n")
done = subprocess.run(["venv/bin/ehds-anon", "--fhir-bundle", "bundle.json", "--key-custody", "custody.yaml", "--out", "out"],
                      capture_output=True, text=True)
print("ehds-anon-kit", version("ehds-anon-kit"), "- exit code", done.returncode, "-", done.stderr.strip()[-200:])
text = Path("out/bundle_anon.json").read_text()
entries = json.loads(text)["entry"]
patient, visit, *results = (entry["resource"] for entry in entries)

starts = {"visit": visit["period"]["start"]} | {f"result {at}": results[at]["effectiveDateTime"] for at in range(COUNT)}
shifts = {name: (date.fromisoformat(start[:10]) - FIRST).days - max(0, at - 1) for at, (name, start) in enumerate(starts.items())}
print("moved by days:", shifts)
order = sorted(range(COUNT), key=lambda at: starts[f"result {at}"])
print("results of eight days in a row, by their new dates:", *order)
before = [at for at in range(COUNT) if starts[f"result {at}"] < starts["visit"]]
print("results from before the visit:", *before)
month, period = results[COUNT:]
kept = month["effectiveDateTime"], period["effectivePeriod"], period["valueDateTime"]
print("not moved:", *kept)
personal = ["617-555-0100", "Tom Adams", "617-555-0101", "mary-adams.png", "2026-01-20T04:10:00Z", "Mary Adams", "mrn-4711"]
left = [word for word in personal if word in text]
print("left of her:", *left)
ids = {f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in entries}
lost = {one["encounter"]["reference"] for one in results} - ids
evidence = json.loads(Path("out/ehds_evidence.json").read_text())
listed = {change["field_path"] for change in evidence["fhir_transformations"]}
print("links to nothing:", *lost, "- changes in the evidence:", *sorted(listed))
right = done.returncode == 0 and len(set(shifts.values())) > COUNT // 2 and order != list(range(COUNT)) and left == personal
right &= kept == ("2026-01", {"start": "2026-01-05", "end": "2026-01-07"}, "2026-01-05") and lost == {"Encounter/e1"}
sys.exit(not (right and listed == {"identifier", "birthDate", "name", "period", "effectiveDateTime"}))
END
