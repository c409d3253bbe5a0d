#!/bin/sh
# nodehl7 answers "accepted" for a message that the hospital has refused: it gives the first answer to all messages that are under way.
#
# MLLPClient (npm, nodehl7 2.0.0) sends HL7 messages over one connection, and send() is a promise of the answer. If several are sent before
# the first is answered, as with Promise.all over a list of orders, each takes the first answer that comes, whichever message that names
# (MSA-2): an error (AE) to the second is seen by nobody, and the order is missing at the hospital. The other way round all look refused. The parser
# of the package swaps two escape sequences: the unit 10\S\9/L, which is 10^9/L, becomes 10|9/L, and \F\ becomes ^.
#
# Needs node and npm. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
npm install --cache cache --silent --no-audit --no-fund nodehl7@2.0.0 >log 2>&1 || { tail -n 5 log; exit 1; }

cat >send.js <<'END'
const Parser = require("nodehl7");
console.log("nodehl7", JSON.parse(require("fs").readFileSync("node_modules/nodehl7/package.json")).version);
setTimeout(() => { console.log("no answer within 30 s"); process.exit(1); }, 30000).unref();

const header = (kind, id) => `MSH|^~\\&|RIS|HOSPITAL|PACS|HOSPITAL|20260105083000||${kind}|${id}|P|2.5`;
const order = (id, patient) => [header("ORM^O01", id), `PID|1||${patient}^^^HOSPITAL^MR||Adams^Mary`, "ORC|NW|1", "OBR|1|1||CT^Chest^L"].join("\r");

const server = new Parser.MLLPServer((message, reply) => {
  const text = message.toString(), id = text.split("|")[9];
  const code = text.includes("PID|1||unknown") ? "AE" : "AA";
  console.log("  the hospital answers", code, "to", id);
  reply([header("ACK", `A-${id}`), `MSA|${code}|${id}`].join("\r"));
});

async function main() {
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const client = new Parser.MLLPClient("127.0.0.1", server.address().port);
  const answer = async (id, patient) => (await client.send(order(id, patient))).toString().split("\r")[1];
  console.log("one after the other:");
  const apart = [await answer("M-1", "P-1"), await answer("M-2", "unknown"), await answer("M-3", "P-3")];
  console.log("  the client has", apart.join(" "));
  console.log("at once:");
  const together = await Promise.all([answer("M-4", "P-1"), answer("M-5", "unknown"), answer("M-6", "P-3")]);
  console.log("  the client has", together.join(" "));
  client.close();

  const result = ["MSH|^~\\&|LAB|HOSPITAL|EHR|HOSPITAL|20260105083000||ORU^R01|M-7|P|2.5",
    "OBX|1|NM|26464-8^Leukocytes^LN||6.1|10\\S\\9/L", "OBX|2|TX|8251-1^Comment^LN||4 \\F\\ 5"].join("\r");
  const values = (await new Parser({ mapping: false }).parse(result, "M-7")).getSegments("OBX").map((segment) => segment.parts);
  console.log("the unit 10\\S\\9/L is read as", values[0][5], "- the text 4 \\F\\ 5 as", values[1][4]);
  const right = apart.join() === "MSA|AA|M-1,MSA|AE|M-2,MSA|AA|M-3" && together.join() === "MSA|AA|M-4,MSA|AA|M-4,MSA|AA|M-4"
    && values[0][5] === "10|9/L" && values[1][4] === "4 ^ 5";
  process.exit(right ? 0 : 1);
}
main();
END
node send.js
