#!/bin/sh
# hl7v2-fhir-bridge files lines that the sender has withdrawn: "wrong patient" and "deleted" findings stand in the report beside the right ones.
#
# The bridge (0.1.0) makes FHIR reports of radiologists' HL7 messages (ORU^R01); its README lists 28 problems of the real world that it handles. Each
# line of a report has a status (OBX-11; HL7 table 0085): D deletes the line, W is "post original as wrong, e.g., transmitted for wrong
# patient", C is its correction. The bridge does not read the field. A corrected report that withdraws another patient's carcinoma becomes a
# DiagnosticReport whose conclusion names the carcinoma and then its absence, with the codes of both. Comments below a line (NTE), where it
# says whom the radiologist has called, are dropped; unmapped values would be warned of, and these are not. The exit code is 0.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check hl7v2-fhir-bridge==0.1.0 fhir-resources==8.3.0 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import base64, importlib.metadata, json, subprocess, sys
from pathlib import Path


def line(number, kind, code, value, status):
    return f"OBX|{number}|{kind}|{code}|{number}|{value}||||||{status}"


def convert(title, *lines):
    """What becomes of a corrected report (OBR-25 is C) with these lines."""
    segments = [
        r"MSH|^~\&|RIS|CLINIC|EHR|CLINIC|20260105101500+0000||ORU^R01|M-1|P|2.5.1",
        "PID|1||P-1^^^CLINIC^MR||Adams^Mary",
        "OBR|1|O-7|F-7|CT1^CT of the chest^L|||20260105090000+0000|||||||||||||||20260105101500+0000||CT|C",
        *lines,
    ]
    Path("message.hl7").write_text("\r".join(segments) + "\r")
    ran = subprocess.run([Path(sys.executable).with_name("hl7v2-fhir-bridge"), "convert", "message.hl7"], capture_output=True, text=True)
    resources = [entry["resource"] for entry in json.loads(ran.stdout)["entry"]]
    report, = [resource for resource in resources if resource["resourceType"] == "DiagnosticReport"]
    text = base64.b64decode(report["presentedForm"][0]["data"]).decode().split("\n")
    codes = [code["coding"][0]["code"] for code in report.get("conclusionCode", [])]
    print(f"{title}: exit code", ran.returncode, "- messages:", ran.stderr.split("\n")[:-1])
    print("  status:", report["status"], "- text:", text, "\n  conclusion:", report["conclusion"].split("\n"), codes)
    return ran.returncode, ran.stderr, report["status"], text, report["conclusion"].split("\n"), codes, "Brown" in ran.stdout


print("hl7v2-fhir-bridge", importlib.metadata.version("hl7v2-fhir-bridge"))
wrong = convert(
    "two lines of another patient are withdrawn",
    line(1, "TX", "&GDT", "Mass of 5 cm in the left lung.", "D"),
    line(2, "TX", "&GDT", "Both lungs are clear.", "C"),
    line(3, "TX", "&IMP", "Carcinoma of the left lung.", "W"),
    line(4, "TX", "&IMP", "No carcinoma.", "C"),
    "NTE|1||Correction told to Dr Brown at 10:12",
    line(5, "CE", "LUNGRADS", "4X^Very suspicious^LR", "W"),
    line(6, "CE", "LUNGRADS", "1^Negative^LR", "C"),
)
sys.exit(wrong != (
    0, "", "corrected", ["Mass of 5 cm in the left lung.", "Both lungs are clear.", "Carcinoma of the left lung.", "No carcinoma."],
    ["Carcinoma of the left lung.", "No carcinoma."], ["4X", "1"], False))
END
