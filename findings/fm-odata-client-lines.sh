#!/bin/sh
# fm-odata-client joins the lines of a field if its lax parsing is on: of the doses 5 and 10, one a line, it gives 510.
#
# FileMaker's OData writes line ends and tabs inside a text as they are, which is no JSON. The client has the option laxParsing
# for that. It takes a line feed for the end of a line; a carriage return, by which FileMaker separates the lines of a field, and
# a tab are removed, and nothing is put in their place. "1.5", return, "20 mg" becomes "1.520 mg". There is no error. Without
# the option the same answer is an error, and what is written as JSON has it (\r, \t) is read right with and without it.
# query() also gives the first 10,000 rows of a longer answer without the link to the rest, and its count is undefined: since
# the client names no version of OData, FileMaker calls the count @count.
#
# Needs node 20 or newer and npm. FileMaker's OData is a small server in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
echo '{"type": "module", "private": true}' >package.json
npm install --cache cache --silent --no-audit --no-fund fm-odata-client@3.2.5

cat >read.js <<'END'
import fs from "node:fs";
import http from "node:http";
import {BasicAuth, Connection} from "fm-odata-client";

const ROWS = 10000; // FileMaker's longest answer
const notes = ["5\r10", "1.5\r20 mg", "mg\t50\t75", "5\n10"];
const as_read = ["510", "1.520 mg", "mg5075", "5\n10"];

function body(url, written) {
    const {protocol, host} = url;
    const answer = {"@context": "$metadata#Notes", "@count": 25000};
    if (url.pathname.endsWith("/Notes")) {
        answer.value = notes.map((note, at) => ({id: `N${at}`, note}));
    } else {
        answer.value = Array.from({length: ROWS}, (_, at) => ({id: at}));
        answer["@nextLink"] = `${protocol}//${host}${url.pathname}?$skip=${ROWS}`;
    }
    const text = JSON.stringify(answer);
    return written === "raw" ? text.replaceAll("\\r", "\r").replaceAll("\\n", "\n").replaceAll("\\t", "\t") : text;
}

let written = "raw";
const asked = [];
const server = http.createServer((request, answer) => {
    asked.push([request.url, request.headers["odata-version"] ?? request.headers["odata-maxversion"]]);
    answer.writeHead(200, {"Content-Type": "application/json", "OData-Version": "4.01"});
    answer.end(body(new URL(request.url, `http://${request.headers.host}`), written));
});
await new Promise((started) => server.listen(0, "127.0.0.1", started));
const host = `127.0.0.1:${server.address().port}`;

function table(name, laxParsing) {
    const connection = new Connection(host, new BasicAuth("reader", "reader"), {disableSsl: true, laxParsing});
    return connection.database("clinic").table(name);
}

console.log("fm-odata-client", JSON.parse(fs.readFileSync("node_modules/fm-odata-client/package.json")).version);
const lax = (await table("Notes", true).query()).map((row) => row.note);
const strict = await table("Notes", false).query().then(() => "read", (error) => error.name);
for (const [at, note] of notes.entries()) {
    console.log(JSON.stringify(note), "written as it is -> lax:", JSON.stringify(lax[at]), "- strict:", strict);
}
written = "JSON";
const valid = [];
for (const laxParsing of [true, false]) {
    valid.push((await table("Notes", laxParsing).query()).map((row) => row.note).join() === notes.join());
}
console.log("written as JSON has it -> lax and strict are right:", ...valid);
asked.length = 0;
const all = await table("Visits", false).query({count: true});
console.log("visits: 25000 - query():", all.rows.length, "rows, count:", all.count, "- keys:", Object.keys(all).join());
server.closeAllConnections();
server.close();
const right = lax.join() === as_read.join() && strict === "SyntaxError" && valid.every(Boolean);
const cut = all.rows.length === ROWS && all.count === undefined && asked.length === 1 && asked[0][1] === undefined;
process.exitCode = Number(!(right && cut));
END
node read.js
