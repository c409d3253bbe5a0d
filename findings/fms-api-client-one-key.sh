#!/bin/sh
# transform() of fms-api-client gives two fields of a portal one key: of potassium (K+) and vitamin K (K) one value is left.
#
# The client's README has transform() applied to what find() returns. It turns each Table::field into camel case, which keeps
# letters and digits alone, and writes one value over the other where the names are equal then: K+ and K, "Dose (mg)" and
# "dose mg", the first repetition Result(1) and a field "Result 1"; a field % gets the key "". The portal's own recordId, by
# which FileMaker edits or deletes that row, is replaced by a field "Record ID", so a program changes another row or none.
# And the portals are put among the fields: a portal Notes replaces the field Notes, by an empty list if it has no rows.
# There is no error. With {convert: false} the names in a portal stay; the field Notes is lost still.
#
# Needs node 20 or newer and npm. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
echo '{"private": true}' >package.json
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts fms-api-client@2.3.4

cat >read.js <<'END_OF_SCRIPT'
const {transform} = require("fms-api-client");

// The member "data" of an answer of FileMaker's Data API: two patients, of whom the second has no rows in the portals
const rows = [{
    recordId: "8", "Labs::Record ID": "17", "Labs::K+": 4.1, "Labs::K": 0.9, "Labs::Dose (mg)": 500, "Labs::dose mg": 2.5,
    "Labs::Result(1)": "low", "Labs::Result(2)": "high", "Labs::Result 1": "repeated", "Labs::%": 12, modId: "0",
}];
const portals = [
    {Labs: rows, Notes: [{recordId: "5", "Notes::Text": "called", modId: "2"}]},
    {Labs: [], Notes: []},
];
const answered = () => ["allergic to penicillin", "asthma"].map((text, at) => {
    const portalDataInfo = Object.entries(portals[at]).map(([table, {length}]) => (
        {database: "clinic", table, foundCount: length, returnedCount: length}
    ));
    return {fieldData: {Name: ["Adams", "Brown"][at], Notes: text}, portalData: portals[at], recordId: `${41 + at}`,
        modId: "3", portalDataInfo};
});

const [first, second] = transform(answered());
const [plain, emptied] = transform(answered(), {convert: false});
const [row] = first.Labs;

console.log("fms-api-client", require("fms-api-client/package.json").version);
console.log("a row of the portal in the answer:", JSON.stringify(rows[0]));
console.log("the same from transform():", JSON.stringify(row));
console.log("FileMaker's recordId of the row:", rows[0].recordId, "- after transform():", row.recordId);
console.log("the field Notes of both patients:", JSON.stringify(answered().map(({fieldData}) => fieldData.Notes)));
console.log("the same from transform():", JSON.stringify([first.Notes, second.Notes]));
console.log("with {convert: false}:", JSON.stringify([plain.Notes, emptied.Notes]));

const expected = {recordId: "17", k: 0.9, doseMg: 2.5, result1: "repeated", result2: "high", "": 12, modId: "0"};
const described = JSON.stringify(row) === JSON.stringify(expected)
    && JSON.stringify(first.Notes) === '[{"recordId":"5","text":"called","modId":"2"}]' && second.Notes.length === 0
    && plain.Labs[0]["Labs::K+"] === 4.1 && plain.Notes[0]["Notes::Text"] === "called" && emptied.Notes.length === 0;
process.exitCode = Number(!described);
END_OF_SCRIPT
node read.js
