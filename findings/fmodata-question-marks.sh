#!/bin/sh
# @proofkit/fmodata changes question marks inside the text of records: "Allergies: ?, ask" becomes "Allergies: null, ask".
#
# FileMaker's OData writes a bare ? for a number field that holds other text, which is no JSON. The client therefore replaces
# every ? that stands between a colon, bracket or comma and a comma or bracket, in each answer, before it parses it, and does
# not look whether it is inside a string. So it changes valid answers: "[?]", which people write for an illegible word, comes
# as "[ null]". There is no error, and a program that writes the record back changes FileMaker too. fm-odata-client gives the
# same answers as they are.
#
# Needs node 20 or newer, npm and openssl. Exit code 0: as described; 1: they behave otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
echo '{"type": "module", "private": true}' >package.json
npm install --cache cache --silent --no-audit --no-fund @proofkit/fmodata@0.1.2 fm-odata-client@3.2.5
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null

cat >read.js <<'END'
import fs from "node:fs";
import https from "node:https";
import {FMServerConnection, fmTableOccurrence, textField} from "@proofkit/fmodata";
import {BasicAuth, Connection} from "fm-odata-client";

const written = ["Allergies: ?, ask the patient", "[?] illegible", "120, ?, 130", "Onset: ?]", "Pain? None: good"];
const read = ["Allergies: null, ask the patient", "[ null] illegible", "120, null, 130", "Onset: null]", "Pain? None: good"];
const body = JSON.stringify({"@context": "$metadata#Notes", value: written.map((note, at) => ({id: `N${at}`, note}))});
const secrets = {key: fs.readFileSync("key.pem"), cert: fs.readFileSync("cert.pem")};
const server = https.createServer(secrets, (_, answer) => {
    answer.writeHead(200, {"Content-Type": "application/json", "OData-Version": "4.01"}).end(body);
});
await new Promise((started) => server.listen(0, "localhost", started));
const host = `localhost:${server.address().port}`;

const proofkit = new FMServerConnection({serverUrl: `https://${host}`, auth: {username: "reader", password: "reader"}});
const notes = fmTableOccurrence("Notes", {id: textField(), note: textField()});
const {data, error} = await proofkit.database("clinic").from(notes).list().execute();
if (error) {
    throw error;
}
const other = await new Connection(host, new BasicAuth("reader", "reader")).database("clinic").table("Notes").query();

const version = (name) => JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`)).version;
console.log("fmodata", version("@proofkit/fmodata"), "and fm-odata-client", version("fm-odata-client"));
for (const [at, text] of written.entries()) {
    console.log(`${text}  ->  ${data[at].note}  |  ${other[at].note}`);
}
server.closeAllConnections();
server.close();
process.exitCode = Number(!written.every((text, at) => data[at].note === read[at] && other[at].note === text));
END
NODE_EXTRA_CA_CERTS=cert.pem node read.js
