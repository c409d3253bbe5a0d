#!/bin/sh
# fhir-to-csv has no blood pressure, no positive test and no pain of 0; a troponin of <6 is 6, and a note of two lines is two rows.
#
# The package (npm, @imranq2/fhir-to-csv 1.0.15) makes tables of a FHIR bundle, one for each kind of resource. Of a result it knows a number
# or a text. A pressure, whose two numbers are components, and a value that is a code (positive, A Rh negative) have an empty cell, as if
# nothing had been measured; 0 is empty, since it counts as none; the "<" of "<6" is left out. A cell is quoted if it has a comma, but not
# if it has a line end: the rest of a note begins a row of its own, in the column of the ids.
# A drug that must not be given (doNotPerform) has the row of one that is given. Everything is done without a word.
#
# Needs node 20 or newer and npm. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
echo '{"private": true, "overrides": {"xlsx": "0.18.5"}}' >package.json  # which else does not come from npm
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts @imranq2/fhir-to-csv@1.0.15 csv-parse@6.1.0 >log 2>&1 ||
    { tail -n 5 log; exit 1; }

cat >read.cjs <<'END'
const { readFileSync } = require("node:fs");
const { FHIRBundleConverter } = require("@imranq2/fhir-to-csv/lib/fhir_bundle_converter");
const { parse } = require("csv-parse/sync");

const subject = { reference: "Patient/p1" }, coded = (code, display, system) => ({ coding: [{ system, code, display }] });
const observation = (id, code, display, more) => ({ resourceType: "Observation", id, status: "final", subject,
  code: coded(code, display, "http://loinc.org"), effectiveDateTime: "2026-01-05T09:00:00Z", ...more });
const mmHg = (code, value) => ({ code: coded(code, "-", "http://loinc.org"), valueQuantity: { value, unit: "mmHg" } });
const drug = (id, text, more) => ({ resourceType: "MedicationRequest", id, status: "active", intent: "order", subject,
  medicationCodeableConcept: { text }, ...more });
const bundle = { resourceType: "Bundle", type: "collection", entry: [
  observation("pressure", "85354-9", "Blood pressure", { component: [mmHg("8480-6", 210), mmHg("8462-4", 120)] }),
  observation("culture", "600-7", "Bacteria in blood", { valueCodeableConcept: coded("10828004", "Positive", "http://snomed.info/sct") }),
  observation("pain", "72514-3", "Pain", { valueQuantity: { value: 0, unit: "{score}" } }),
  observation("troponin", "67151-1", "Troponin T", { valueQuantity: { value: 6, comparator: "<", unit: "ng/L" } }),
  observation("note", "8716-3", "Note", { valueString: "Fell at night.\nNo fracture." }),
  observation("sodium", "2951-2", "Sodium", { valueQuantity: { value: 140, unit: "mmol/L" } }),
  drug("d1", "ibuprofen", { doNotPerform: true }), drug("d2", "aspirin", {}),
].map((resource) => ({ resource })) };

const said = [];
for (const kind of ["warn", "error"]) console[kind] = (...words) => said.push(words.join(" "));
console.log("@imranq2/fhir-to-csv", JSON.parse(readFileSync("node_modules/@imranq2/fhir-to-csv/package.json")).version);
const converter = new FHIRBundleConverter();
const tables = converter.convertToCSV(converter.convertBundleToDictionaries(bundle));
const rows = (kind) => parse(tables[kind].join("\n"), { columns: true, relax_column_count: true, relax_quotes: true });
const results = rows("Observation"), drugs = rows("MedicationRequest");
for (const { id, status, value, valueUnit } of results) console.log(JSON.stringify({ id, status, value, valueUnit }));
for (const row of drugs) console.log("drug:", row.id, row.status, row.intent, row.medicationText);
const found = results.map(({ id, value }) => `${id}=${value ?? ""}`);
const same = (row) => JSON.stringify(Object.entries(row).filter(([name]) => !["id", "medication", "medicationText"].includes(name)));
const expected = ["pressure=", "culture=", "pain=", "troponin=6", "note=Fell at night.", "sodium=140"];
const rest = results.findIndex(({ id }) => !bundle.entry.some((entry) => entry.resource.id === id));
console.log("rows:", results.length, "- of results:", 6, "- the row that is none:", rest < 0 ? "-" : results[rest].id);
console.log("said:", said.length);
const right = expected.every((one) => found.includes(one)) && results.length === 7
  && rest >= 0 && results[rest].id.startsWith("No fracture.")
  && same(drugs[0]) === same(drugs[1]) && said.length === 0;
process.exitCode = Number(!right);
END
node read.cjs
