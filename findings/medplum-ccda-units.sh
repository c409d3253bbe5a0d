#!/bin/sh
# @medplum/ccda gives each drug of a C-CDA document the unit IU: 500 mg of amoxicillin are 500 [IU], and 7 units of insulin 7 [IU].
#
# convertCcdaToFhir() (npm, 5.1.10) turns the document with which clinic systems hand patients over into FHIR. The unit of a dose is not
# read; "[IU]", as UCUM writes international units, is put in its place. A value that is known to the month (HL7's 202603) is one of
# January: a patient born in March is born on 1 January. What the document denies (negationInd) is affirmed: that there is no allergy to
# penicillin becomes a confirmed, active allergy to it, and a vaccination that was refused a completed one. Each allergy is one to food. A
# dose of one to two tablets (low and high) is NaN. There is no error and no warning in any of these.
#
# Needs node 20 or newer and npm. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
echo '{"private": true}' >package.json
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts @medplum/ccda@5.1.10 @medplum/core@5.1.10 >log 2>&1 ||
    { tail -n 5 log; exit 1; }

cat >read.cjs <<'END'
globalThis.WebSocket ??= class {}; // node 20 has none; the library names it when it is loaded, and opens none
const { convertCcdaToFhir, convertXmlToCcda } = require("@medplum/ccda");

const RXNORM = "2.16.840.1.113883.6.88", SNOMED = "2.16.840.1.113883.6.96", CVX = "2.16.840.1.113883.12.292", LOINC = "2.16.840.1.113883.6.1";
const id = (last) => `<id root="2.16.840.1.113883.3.9999" extension="${last}"/>`;
const template = (root) => `<templateId root="2.16.840.1.113883.10.20.22.${root}"/>`;
const code = (name, value, system, label) => `<${name} code="${value}" codeSystem="${system}" displayName="${label}"/>`;
const section = (root, loinc, entries) => `<component><section>${template(root)}${code("code", loinc, LOINC, "-")}<title>-</title><text>-</text>
  ${entries.map((entry) => `<entry typeCode="DRIV">${entry}</entry>`).join("")}</section></component>`;
const product = (coded) => `<consumable><manufacturedProduct classCode="MANU"><manufacturedMaterial>${coded}</manufacturedMaterial>
  </manufacturedProduct></consumable>`;

const drug = (number, value, name, dose) => `<substanceAdministration classCode="SBADM" moodCode="INT">${template("4.16")}${id(number)}
  <statusCode code="active"/><effectiveTime xsi:type="IVL_TS"><low value="202603"/></effectiveTime>
  <effectiveTime xsi:type="PIVL_TS" operator="A"><period value="8" unit="h"/></effectiveTime>${dose}
  ${product(code("code", value, RXNORM, name))}</substanceAdministration>`;
const allergy = (number, denied, value, system, name) => `<act classCode="ACT" moodCode="EVN">${template("4.30")}${id(number)}
  <code code="CONC" codeSystem="2.16.840.1.113883.5.6"/><statusCode code="active"/><effectiveTime><low value="20260105"/></effectiveTime>
  <entryRelationship typeCode="SUBJ"><observation classCode="OBS" moodCode="EVN" negationInd="${denied}">${template("4.7")}
  ${id(number + "o")}<code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/><statusCode code="completed"/>
  <effectiveTime><low value="20260105"/></effectiveTime>${code('value xsi:type="CD"', "416098002", SNOMED, "Drug allergy")}
  <participant typeCode="CSM"><participantRole classCode="MANU"><playingEntity classCode="MMAT">${code("code", value, system, name)}
  </playingEntity></participantRole></participant></observation></entryRelationship></act>`;
const vaccination = (number, denied) => `<substanceAdministration classCode="SBADM" moodCode="EVN" negationInd="${denied}">
  ${template("4.52")}${id(number)}<statusCode code="completed"/><effectiveTime value="20260105"/>
  ${product(code("code", "03", CVX, "MMR"))}</substanceAdministration>`;

const xml = `<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <realmCode code="US"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>${template("1.1")}${id("d")}
  <code code="34133-9" codeSystem="2.16.840.1.113883.6.1"/><title>Summary</title><effectiveTime value="20260105083000-0500"/>
  <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="en-US"/>
  <recordTarget><patientRole>${id("P-1")}<addr><city>Boston</city></addr><telecom value="tel:617-555-0100"/>
  <patient><name><given>Mary</given><family>Adams</family></name>
  <administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/><birthTime value="197003"/></patient></patientRole></recordTarget>
  <author><time value="20260105083000-0500"/><assignedAuthor>${id("n")}<assignedPerson><name><given>Ann</given><family>Cole</family></name>
  </assignedPerson></assignedAuthor></author><custodian><assignedCustodian><representedCustodianOrganization>${id("c")}
  <name>Clinic</name></representedCustodianOrganization></assignedCustodian></custodian>
  <component><structuredBody>
  ${section("2.1.1", "10160-0", [
    drug("m1", "723", "amoxicillin", '<doseQuantity value="500" unit="mg"/>'),
    drug("m2", "10582", "levothyroxine", '<doseQuantity value="0.025" unit="mg"/>'),
    drug("m3", "253182", "insulin", '<doseQuantity value="7" unit="[iU]"/>'),
    drug("m4", "198440", "acetaminophen 500 MG Oral Tablet", '<doseQuantity><low value="1" unit="1"/><high value="2" unit="1"/></doseQuantity>')])}
  ${section("2.6.1", "48765-2", [allergy("a1", "true", "70618", RXNORM, "penicillin"), allergy("a2", "false", "1191", RXNORM, "aspirin")])}
  ${section("2.2.1", "11369-6", [vaccination("v1", "true"), vaccination("v2", "false")])}
  </structuredBody></component></ClinicalDocument>`;

const noted = [];
for (const kind of ["warn", "error"]) console[kind] = (...words) => noted.push(words.join(" "));
console.log("@medplum/ccda", JSON.parse(require("fs").readFileSync("node_modules/@medplum/ccda/package.json")).version);
const bundle = convertCcdaToFhir(convertXmlToCcda(xml));
const of = (kind) => bundle.entry.map((entry) => entry.resource).filter((resource) => resource.resourceType === kind);
const name = (coded) => coded.coding[0].display;

const doses = of("MedicationRequest").map((drug) => {
  const { value, unit, code } = drug.dosageInstruction[0].doseAndRate[0].doseQuantity;
  const from = drug.dispenseRequest.validityPeriod.start;
  console.log(`drug: ${name(drug.medicationCodeableConcept)} - dose: ${value} ${unit} (${code}), from ${from}`);
  return `${value} ${code} ${from.slice(0, 7)}`;
});
const [patient] = of("Patient");
console.log("born 197003:", patient.birthDate);
const allergies = of("AllergyIntolerance").map((allergy) => {
  const words = [name(allergy.code), allergy.clinicalStatus.coding[0].code, allergy.verificationStatus.coding[0].code, allergy.category];
  console.log("allergy:", ...words);
  return words.join(" ");
});
const vaccinations = of("Immunization").map((vaccination) => vaccination.status);
console.log("vaccinations, refused and given:", ...vaccinations, "- warnings:", noted.length);
const right = doses.join() === ["500", "0.025", "7", "NaN"].map((value) => `${value} [IU] 2026-01`).join()
  && patient.birthDate === "1970-01-01"
  && allergies.join() === "penicillin active confirmed food,aspirin active confirmed food"
  && vaccinations.join() === "completed,completed"
  && noted.length === 0;
process.exitCode = Number(!right);
END
node read.cjs
