#!/bin/sh
# ccda-to-fhir keeps one of a patient's two blood pressures, the one that was measured standing, and the evening of "morning and evening".
#
# The library (0.3) converts C-CDA documents to FHIR, and "fails loudly on unexpected data rather than silently dropping information".
# A group of vital signs may hold several of a kind: pressures lying and standing, an hour apart. It joins the last systolic and the last
# diastolic value of the group into one; the others are gone, and so is each but the last pulse oximetry. If the last pair is half, the
# result is a pressure that nobody has measured. A dose before breakfast and before dinner has two times (EIVL): the last is left, so half
# of the drug. "1 to 2" tablets are 1. A titer of 1:128 (RTO) is "Value not provided in source C-CDA document". Of two glucose results in
# one panel whose ids are unknown (nullFlavor) the second is gone. The conversion's list of errors is empty.
#
# Needs python3.10 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" ccda-to-fhir==0.3 fhir.resources==8.3.0 \
    fhir-core==1.1.12 lxml==6.1.3

"$folder/venv/bin/python" - <<'END'
import logging, sys
from importlib.metadata import version
from ccda_to_fhir import convert_document

logging.disable(logging.CRITICAL)
LOINC, SNOMED, RXNORM = "2.16.840.1.113883.6.1", "2.16.840.1.113883.6.96", "2.16.840.1.113883.6.88"
numbers = iter(range(1, 1000))

def new_id():
    return f'<id root="2.16.840.1.113883.3.9999" extension="{next(numbers)}"/>'

def template(root):
    return f'<templateId root="2.16.840.1.113883.10.20.22.{root}"/>'

def section(root, code, title, entries):
    found = "".join(f'<entry typeCode="DRIV">{entry}</entry>' for entry in entries)
    return (f'<component><section>{template(root)}<code code="{code}" codeSystem="{LOINC}"/><title>{title}</title><text>-</text>{found}'
            "</section></component>")

def observation(root, code, name, time, value, own_id=None):
    return (f'<observation classCode="OBS" moodCode="EVN">{template(root)}{own_id or new_id()}<code code="{code}" codeSystem="{LOINC}" '
            f'displayName="{name}"/><statusCode code="completed"/><effectiveTime value="{time}"/>{value}</observation>')

def organizer(root, code, observations):
    components = "".join(f"<component>{one}</component>" for one in observations)
    return (f'<organizer classCode="CLUSTER" moodCode="EVN">{template(root)}{new_id()}{code}'
            f'<statusCode code="completed"/><effectiveTime><low value="20260105080000-0500"/>'
            f'<high value="20260105090000-0500"/></effectiveTime>{components}</organizer>')

def quantity(value, unit):
    return f'<value xsi:type="PQ" value="{value}" unit="{unit}"/>'

def pressure(time, systolic, diastolic):
    yield observation("4.27", "8480-6", "Systolic blood pressure", time, quantity(systolic, "mm[Hg]"))
    yield observation("4.27", "8462-4", "Diastolic blood pressure", time, quantity(diastolic, "mm[Hg]"))

def drug(code, name, times, dose):
    return (f'<substanceAdministration classCode="SBADM" moodCode="INT">{template("4.16")}{new_id()}<statusCode code="active"/>'
            f'<effectiveTime xsi:type="IVL_TS"><low value="20260105"/></effectiveTime>{times}<doseQuantity{dose}'
            f'<consumable><manufacturedProduct classCode="MANU">{template("4.23")}<manufacturedMaterial><code code="{code}" '
            f'codeSystem="{RXNORM}" displayName="{name}"/></manufacturedMaterial></manufacturedProduct></consumable>'
            "</substanceAdministration>")

lying, standing = ("20260105080000-0500", 160, 95), ("20260105090000-0500", 105, 60)
vitals = [*pressure(*lying), *pressure(*standing)]
vitals += [observation("4.27", "59408-5", "Oxygen saturation", time, quantity(value, "%")) for time, value in
           [(lying[0], 84), (standing[0], 97)]]
lone = [*pressure(*lying), next(pressure(*standing))]  # the diastolic value is missing when she stands
groups = vitals, lone
unknown = '<id nullFlavor="UNK"/>'
results = [observation("4.2", "2345-7", "Glucose", time, quantity(value, "mg/dL"), unknown) for time, value in
           [(lying[0], 418), (standing[0], 91)]]
titer = '<value xsi:type="RTO"><numerator xsi:type="PQ" value="1" unit="1"/><denominator xsi:type="PQ" value="128" unit="1"/></value>'
results.append(observation("4.2", "5048-4", "Nuclear Ab [Titer]", lying[0], titer))
twice = "".join(f'<effectiveTime xsi:type="EIVL_TS" operator="{how}"><event code="{event}"/></effectiveTime>'
                for how, event in [("A", "ACM"), ("I", "ACV")])
drugs = [drug("6809", "metformin", twice, ' value="500" unit="mg"/>'),
         drug("198440", "acetaminophen 500 MG Oral Tablet", "", '><low value="1" unit="1"/><high value="2" unit="1"/></doseQuantity>')]
signs = f'<code code="46680005" codeSystem="{SNOMED}"><translation code="74728-7" codeSystem="{LOINC}"/></code>'
panel = f'<code code="24323-8" codeSystem="{LOINC}" displayName="Panel"/>'
sections = section("2.4.1", "8716-3", "Vital signs", [organizer("4.26", signs, each) for each in groups])
sections += section("2.3.1", "30954-2", "Results", [organizer("4.1", panel, results)])
sections += section("2.1.1", "10160-0", "Medications", drugs)
person = "<name><given>Mary</given><family>Adams</family></name>"
address = "<addr><streetAddressLine>1 Main St</streetAddressLine><city>Boston</city><state>MA</state></addr>"
address += "<telecom value='tel:617-555-0100'/>"
document = f"""<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <realmCode code="US"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>{template("1.1")}{new_id()}
  <code code="34133-9" codeSystem="{LOINC}" displayName="Summary"/><title>Summary</title><effectiveTime value="20260106083000-0500"/>
  <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="en-US"/>
  <recordTarget><patientRole>{new_id()}{address}<patient>{person}<administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/>
  <birthTime value="19700102"/></patient></patientRole></recordTarget>
  <author><time value="20260106083000-0500"/><assignedAuthor>{new_id()}{address}<assignedPerson>{person}</assignedPerson></assignedAuthor>
  </author><custodian><assignedCustodian><representedCustodianOrganization>{new_id()}<name>Clinic</name>{address}
  </representedCustodianOrganization></assignedCustodian></custodian><component><structuredBody>{sections}</structuredBody></component>
</ClinicalDocument>"""

result = convert_document(document)
print("ccda-to-fhir", version("ccda-to-fhir"), "- errors:", result["metadata"]["errors"])
resources = [entry["resource"] for entry in result["bundle"]["entry"]]
found = {}
for resource in resources:
    if resource["resourceType"] == "Observation" and not resource.get("hasMember"):
        name = resource["code"]["coding"][0]["code"]
        values = [part["valueQuantity"]["value"] for part in resource.get("component", [])]
        values = values or [resource.get("valueQuantity", {}).get("value", resource.get("dataAbsentReason", {}).get("text"))]
        found.setdefault(name, []).append((resource.get("effectiveDateTime", "")[11:16], *values))
for name, rows in found.items():
    print(name, *rows)
doses = {}
for resource in resources:
    if resource["resourceType"] in {"MedicationRequest", "MedicationStatement"}:
        [dosage] = resource.get("dosageInstruction", resource.get("dosage"))
        name = resource["medicationCodeableConcept"]["coding"][0]["display"]
        doses[name] = dosage.get("timing", {}).get("repeat", {}).get("when"), dosage["doseAndRate"][0].get("doseQuantity", {}).get("value")
        print(name, "- when and dose:", *doses[name])
right = found["85354-9"] == [("09:00", 105, 60), ("09:00", 105, 95)] and found["59408-5"] == [("09:00", 97)]
right &= found["5048-4"] == [("08:00", "Value not provided in source C-CDA document")]
right &= found["2345-7"] == [("08:00", 418)]
right &= doses == {"metformin": (["ACV"], 500), "acetaminophen 500 MG Oral Tablet": (None, 1)}
sys.exit(not (right and result["metadata"]["errors"] == []))
END
