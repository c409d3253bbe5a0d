#!/bin/sh
# simple-hl7 makes one message of two that arrive together: Baker's sodium is one of Adams' results, and Baker has none.
#
# The server of the package (npm, 3.3.0) receives HL7 messages from laboratories and hospitals. A message begins with a byte of its own and
# ends with two (MLLP), since TCP joins and cuts what is sent as it likes. The server looks only whether what it has by now ends with those
# two. If a sender does not wait for an answer, as with "never" in MSH-15 and MSH-16, or several messages have piled up, it takes all of
# them for the first: getSegments("OBX") gives everybody's results under the first patient, and one message is acknowledged.
# A Patient ID may be several, separated by "~" (PID-3 repeats): getComponent(3, 1) gives "" then, the same for all such patients.
#
# Needs node and npm. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
npm install --cache cache --silent --no-audit --no-fund simple-hl7@3.3.0 >log 2>&1 || { tail -n 5 log; exit 1; }

cat >read.js <<'END'
const net = require("net"), hl7 = require("simple-hl7");
console.log("simple-hl7", require("simple-hl7/package.json").version);
setTimeout(() => { console.log("no answer within 30 s"); process.exit(1); }, 30000).unref();

const message = (id, name, sodium) => [
  `MSH|^~\\&|LAB|HOSPITAL|EHR|HOSPITAL|20260105083000||ORU^R01|M-${id}|P|2.5|||NE|NE`, `PID|1||${id}^^^HOSPITAL^MR||${name}`,
  `OBR|1|||2951-2^Sodium^LN`, `OBX|1|NM|2951-2^Sodium^LN||${sodium}|mmol/L|||||F`].join("\r");
const framed = (text) => `\x0b${text}\x1c\r`;

const seen = [];
const app = hl7.tcp();
app.use((request, response, next) => {
  const names = request.msg.getSegments("PID").map((segment) => segment.getComponent(5, 1));
  const results = request.msg.getSegments("OBX").map((segment) => segment.getField(5));
  seen.push([request.msg.getSegment("PID").getComponent(5, 1), results.join(" and ")].join(" "));
  console.log("  a message of", names[0], "with the sodium values", results.join(" and "), "-", names.length, "PID segments");
  response.end();
});
app.use((error, request, response, next) => { console.log("  error:", error.message); process.exit(1); });
const server = app.start({ port: 0, host: "127.0.0.1" });

function send(port, bytes) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => socket.write(bytes));
    let answer = "";
    socket.on("data", (data) => {
      answer += data;
      if (!answer.endsWith("\x1c\r")) return;
      socket.end();
      resolve(answer.match(/MSA\|\w+\|[\w-]+/g));
    });
  });
}

server.server.on("listening", async () => {
  const port = server.server.address().port, adams = message("P-1", "Adams^Mary", 140), baker = message("P-2", "Baker^John", 118);
  console.log("one after the other:");
  const apart = [...await send(port, framed(adams)), ...await send(port, framed(baker))];
  console.log("  acknowledged:", apart.join(" "));
  console.log("both in one packet:");
  const together = await send(port, framed(adams) + framed(baker));
  console.log("  acknowledged:", together.join(" "));

  const ids = ["P-1^^^HOSPITAL^MR", "P-1^^^HOSPITAL^MR~D-77^^^STATE^DL", "P-2^^^HOSPITAL^MR~D-78^^^STATE^DL"].map((list) => {
    const read = new hl7.Parser({ segmentSeperator: "\r" }).parse(adams.replace("P-1^^^HOSPITAL^MR", list));
    const id = read.getSegment("PID").getComponent(3, 1);
    console.log("PID-3", list, "- the ID as getComponent(3, 1) gives it:", JSON.stringify(id));
    return id;
  });
  const right = seen.join(", ") === "Adams 140, Baker 118, Adams 140 and 118" && apart.length === 2
    && together.join() === "MSA|AA|M-P-1" && ids.join() === "P-1,,";
  process.exit(right ? 0 : 1);
});
END
node read.js
