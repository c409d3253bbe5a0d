#!/bin/sh
# radreport takes "CT without contrast: large subdural hematoma" for the absence of one, and "unchanged since 2019 in size" for 51 metres.
#
# The package (0.4.0) reads radiologists' reports, looks for findings that need action at once, and exports them to FHIR. A finding counts as
# negated if "no" or "without" stands within 60 characters before it in the sentence, whatever that word belongs to: contrast, change,
# fracture. The README says that negation "fails safe" and "prevents a real critical finding from being silently suppressed". Of four
# reports with a finding of severity "critical", three have none that is active; their FHIR resource has no observation, and the table for
# a whole folder says has_active_critical False. In the table is also the largest measurement: "in" after a number is an inch, so that a
# year makes metres. Lesions of equal size are counted once. There is no message; the exit code is 0.
#
# Needs python3.9 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check radreport==0.4.0 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import csv, importlib.metadata, json, subprocess, sys
from pathlib import Path

reports = {
    "plain": "Large subdural hematoma on the left.",
    "contrast": "CT without contrast: large subdural hematoma on the left.",
    "fracture": "There is no rib fracture but a large pneumothorax on the right.",
    "change": "No change of the heart, new pulmonary embolism on both sides.",
    "year": "Nodule of 6 mm in the left lung, unchanged since 2019 in size.",
    "count": "Three nodules of 4 mm, 2 in the left lung and 1 in the right lung.",
    "equal": "Nodule of 9 mm in the left lung. Nodule of 9 mm in the right lung.",
}
for name, text in reports.items():
    Path(f"{name}.txt").write_text(f"FINDINGS:\n{text}\n\nIMPRESSION:\nSee findings.\n")


def radreport(*arguments):
    command = [Path(sys.executable).with_name("radreport"), *[f"{name}.txt" for name in reports], *arguments]
    ran = subprocess.run(command, capture_output=True, text=True)
    return ran.returncode, ran.stdout, ran.stderr


print("radreport", importlib.metadata.version("radreport"))
code, table, message = radreport("--critical", "--format", "csv")
rows = {row["source_file"].removesuffix(".txt"): row for row in csv.DictReader(table.splitlines())}
code_of_fhir, output, message_of_fhir = radreport("--fhir", "--modality", "CT")
resources = dict(zip(reports, json.loads(output)))
found = {}
for name, text in reports.items():
    row = rows[name]
    found[name] = (row["has_active_critical"], len(resources[name].get("contained", [])),
                   int(row["measurement_count"]), float(row["largest_measurement_mm"] or 0))
    print(f"{text}\n  critical: {found[name][0]}, observations in FHIR: {found[name][1]},",
          f"measurements: {found[name][2]}, the largest: {found[name][3]} mm")
right = code == code_of_fhir == 0 and not message and not message_of_fhir
sys.exit(not (right and found == {
    "plain": ("True", 1, 0, 0), "contrast": ("False", 0, 0, 0), "fracture": ("False", 0, 0, 0), "change": ("False", 0, 0, 0),
    "year": ("False", 0, 2, 51282.6), "count": ("False", 0, 3, 50.8), "equal": ("False", 0, 1, 9)}))
END
