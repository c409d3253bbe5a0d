#!/bin/sh
# hl7-standard gives a specimen two identifiers when it writes a message that nobody changed, and puts a comment to the next result.
#
# The library (1.0.4) reads an HL7 v2 message with transform() and writes it with build(). "&" divides a component into subcomponents, "~"
# begins a repetition. A field with one component that has subcomponents comes back with "~": "S-1&LAB", the specimen S-1 of the laboratory
# LAB (SPM-2, OBR-29 and other fields that name something by number and place), is now two repetitions, "S-1" and "LAB". With a second
# component in the field it stays. createSegmentBefore() "creates a single segment before an already existing, specified segment":
# if the message has none of that kind yet, it comes after it. A comment (NTE) belongs to the result before it, so a comment to
# potassium is one to sodium in the message that is sent on. No error, no warning.
#
# Needs node 18 or newer and npm. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
echo '{"private": true}' >package.json
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts hl7-standard@1.0.4 >log 2>&1 || { cat log; exit 1; }

cat >convert.js <<'END_OF_SCRIPT'
const HL7 = require("hl7-standard");
const HEADER = ["MSH|^~\\&|LIS|LAB|CLINIC|CLINIC|20260301080000||ORU^R01^ORU_R01|M-1|P|2.5.1", "PID|1||P-1^^^CLINIC||Adams^Mary"];

/** Reads a message and writes it again, after a change if there is one. Returns its segments, without bars at their ends. */
function carry(segments, change = () => {}) {
  const message = new HL7([...HEADER, ...segments].join("\r"), { lineEndings: "\r" });
  message.transform();
  change(message);
  return message.build().split("\r").slice(2).map((line) => line.replace(/\|+$/, ""));
}

console.log("hl7-standard", require("hl7-standard/package.json").version);
const alone = carry(["SPM|1|S-1&LAB||BLD"]);
console.log("SPM|1|S-1&LAB||BLD, not changed, is written as", alone[0]);
const both = carry(["SPM|1|S-1&LAB^F-1&HOSPITAL||BLD"]);
console.log("SPM|1|S-1&LAB^F-1&HOSPITAL||BLD, not changed, is written as", both[0]);

const RESULTS = ["OBX|1|NM|2823-3^Potassium^LN||6.9", "OBX|2|NM|2951-2^Sodium^LN||140"];
/** Puts a comment before the segment of that number among the results. */
function comment(message, number) {
  const note = message.createSegmentBefore("NTE", message.getSegments("OBX")[number]);
  note.set("NTE.1", "1");
  note.set("NTE.3", "haemolysed");
}
const first = carry(RESULTS, (message) => comment(message, 1));
console.log("a comment before sodium, so to potassium:\n   " + first.join("\n   "));

const described = alone[0] === "SPM|1|S-1~LAB||BLD" && both[0] === "SPM|1|S-1&LAB^F-1&HOSPITAL||BLD"
  && first.join() === [...RESULTS, "NTE|1||haemolysed"].join();
process.exit(described ? 0 : 1);
END_OF_SCRIPT
node convert.js
