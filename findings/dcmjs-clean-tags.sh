#!/bin/sh
# cleanTags() of dcmjs does not know 103 of the 221 names that it is to empty: a patient's telephone number and other IDs stay.
#
# The function is the anonymizer of dcmjs. Its list has the names that another program, CTP, gives the attributes: there is
# PatientPhoneNumbers for PatientTelephoneNumbers, OtherPatientIDsSeq, OperatorName for OperatorsName, AcquisitionDatetime with
# a small t. A name that dcmjs's own dictionary has not is passed over, so these attributes keep their values, as do the staff
# who read the study, the diagnoses at admission and the order. Name, ID, address and day of birth are replaced or emptied,
# by which the result looks anonymized. No error, no warning; getTagsNameToEmpty() returns the list with all 221 names.
#
# Needs node 20 or newer and npm. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
echo '{"type": "module", "private": true}' >package.json
npm install --cache cache --silent --no-audit --no-fund dcmjs@0.52.2

cat >clean.js <<'END'
import fs from "node:fs";
import dcmjs from "dcmjs";

const {DicomDict, DicomMessage, DicomMetaDictionary} = dcmjs.data;
const {cleanTags, getTagsNameToEmpty} = dcmjs.anonymizer;

const emptied = {
    PatientAddress: "1 Main Street",
    PatientBirthDate: "19700102",
    PatientMotherBirthName: "Evans",
    RequestingPhysician: "Frank^Max",
};
const kept = {
    PatientTelephoneNumbers: "555-0100",
    OtherPatientIDsSequence: [{PatientID: "INS-77"}],
    ReferringPhysicianTelephoneNumbers: "555-0101",
    OperatorsName: "Brown^Tom",
    PhysiciansOfRecord: "Clark^Ann",
    NameOfPhysiciansReadingStudy: "Davis^Joe",
    AdmittingDiagnosesDescription: "Chest pain",
    AcquisitionDateTime: "20260105101112",
    RequestAttributesSequence: [{RequestedProcedureDescription: "Chest for Dr Brown"}],
};
const file = new DicomDict({"00020010": {vr: "UI", Value: ["1.2.840.10008.1.2.1"]}});
file.dict = DicomMetaDictionary.denaturalizeDataset({
    SOPClassUID: "1.2.840.10008.5.1.4.1.1.104.1",
    SOPInstanceUID: "2.25.1",
    StudyInstanceUID: "2.25.2",
    SeriesInstanceUID: "2.25.3",
    PatientID: "P-1",
    PatientName: "Adams^Mary",
    ...emptied,
    ...kept,
    _meta: {},
});

function values(dict) {
    const byName = DicomMetaDictionary.naturalizeDataset(dict);
    return (name) => JSON.stringify(byName[name]?.[0]?.Alphabetic ?? byName[name], (key, value) => (key === "_vrMap" ? undefined : value));
}

const before = DicomMessage.readFile(file.write());
const written = values(before.dict);
const originals = Object.fromEntries(["PatientID", "PatientName", ...Object.keys(emptied), ...Object.keys(kept)].map((name) => [name, written(name)]));
cleanTags(before.dict);
const after = values(DicomMessage.readFile(before.write()).dict);
const names = getTagsNameToEmpty();
const unknown = names.filter((name) => !DicomMetaDictionary.nameMap[name]);
console.log("dcmjs", JSON.parse(fs.readFileSync("node_modules/dcmjs/package.json")).version, "- names:", names.length, "- unknown:", unknown.length);
console.log("unknown ones:", unknown.slice(0, 3).join(), "...", unknown.filter((name) => name.startsWith("O")).join());
for (const [name, value] of Object.entries(originals)) {
    console.log(`${name}: ${value} -> ${after(name)}`);
}
const stays = Object.keys(kept).every((name) => after(name) === originals[name]);
const goes = Object.keys(emptied).every((name) => ['""', "[]"].includes(after(name)));
const replaced = after("PatientID") === '"ANON^ID"' && after("PatientName") === '"ANON^PATIENT"';
process.exitCode = Number(!(stays && goes && replaced && names.length === 221 && unknown.length === 103));
END
node clean.js
