#!/bin/sh
# node-hl7-server hands over each HL7 message again with every later one of its connection: five orders arrive as fifteen.
#
# The server (npm, 2.5.0) collects what a connection sends until a message has ended, and never forgets it. The second message is read together
# with the first, the third with both; several in one text are taken for a batch, and each goes to the handler once more, which orders,
# admits or bills it again. Hospital systems keep one connection open for days. The sender gets all answers of earlier messages anew
# with each one, of which it waits for one; the first that it reads is that of the first message. The manual says that the server closes the
# connection after its answer, which it does not.
#
# Needs node and npm. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
npm install --cache cache --silent --no-audit --no-fund node-hl7-server@2.5.0 node-hl7-client@2.3.1 >log 2>&1 || { tail -n 5 log; exit 1; }

cat >orders.js <<'END'
const fs = require("fs"), net = require("net"), { Server } = require("node-hl7-server");
console.log("node-hl7-server", JSON.parse(fs.readFileSync("node_modules/node-hl7-server/package.json")).version);
setTimeout(() => { console.log("no answer within 30 s"); process.exit(1); }, 30000).unref();

const patients = ["Adams^Mary", "Baker^John", "Clark^Ann", "Davis^Paul", "Evans^Ruth"];
const order = (name, number) => [
  `MSH|^~\\&|RIS|HOSPITAL|PACS|HOSPITAL|20260105083000||ORM^O01|M-${number}|P|2.5`, `PID|1||P-${number}^^^HOSPITAL^MR||${name}`,
  `ORC|NW|O-${number}`, `OBR|1|O-${number}||CT^Chest^L`].join("\r");

// The server passes bindAddress on as "hostname", which Node does not know, and would listen on all addresses.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return listen.call(this, { ...options, host: options.hostname }, ...rest);
};

const handled = [], answers = [];
const server = new Server({ bindAddress: "127.0.0.1" });
const inbound = server.createInbound({ port: 0 }, async (request, response) => {
  handled.push(request.getMessage().get("PID.5.1").toString());
  await response.sendResponse("AA");
});
inbound.on("data.error", (error) => { console.log("  error:", error.message); process.exit(1); });

inbound.on("listen", () => {
  let number = 0;
  const next = () => {
    if (number === patients.length) return finish();
    handled.length = 0;
    socket.write(`\x0b${order(patients[number], number + 1)}\x1c\r`);
  };
  const finish = () => {
    const right = seen.join(" / ") === patients.map((_, last) => patients.slice(0, last + 1).map((name) => name.split("^")[0]).join(" ")).join(" / ");
    console.log("orders sent:", patients.length, "- handled:", seen.join(" ").split(" ").length);
    process.exit(right && answers.every((answer) => answer === "M-1") ? 0 : 1);
  };
  const seen = [];
  let text = "";
  const socket = net.connect(inbound._socket.address().port, "127.0.0.1", next);
  socket.on("data", (data) => {
    text += data;
    if (text.split("\x1c\r").length <= handled.length) return;
    answers.push(text.match(/MSA\|AA\|([\w-]+)/)[1]);
    seen.push(handled.join(" "));
    console.log("  sent:", patients[number].split("^")[0], "- the handler is called for:", handled.join(" "), "- first answer:", answers.at(-1));
    text = "";
    number += 1;
    next();
  });
});
END
node orders.js
