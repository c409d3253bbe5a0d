#!/bin/sh
# @proofkit/fmdapi loses rows of portals: of 120 doses in FileMaker get() gives 50, or none if its schema names other portals.
#
# FileMaker's Data API gives 50 rows of a portal unless the request says more. The client has the option portalRanges for
# that. list() sends it; get() declares it in its types, takes it and sends neither it nor its other options. And with a
# schema for some portals, each method replaces the rows of every portal that the schema does not name by an empty list,
# which is what a portal without records looks like: a portal that was put on the layout, or was given an object name,
# after the types were generated is empty from then on. A field that does not fit the schema is an error; here there is none.
# Only FileMaker's own counts, portalDataInfo, tell the difference.
#
# Needs node 20 or newer and npm. FileMaker's Data API is a small server in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
echo '{"type": "module", "private": true}' >package.json
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts @proofkit/fmdapi@5.2.1

cat >read.js <<'END_OF_SCRIPT'
import fs from "node:fs";
import http from "node:http";
import {DataApi, FetchAdapter} from "@proofkit/fmdapi";

const held = {Doses: 120, Allergies: 3};

function record(parameters) {
    const portalData = {}, portalDataInfo = [];
    for (const [name, count] of Object.entries(held)) {
        const returned = Math.min(count, Number(parameters.get(`_limit.${name}`) ?? 50));
        portalData[name] = Array.from({length: returned}, (_, at) => (
            {recordId: `${at + 1}`, modId: "0", [`${name}::Text`]: `${name} ${at + 1}`}
        ));
        portalDataInfo.push({database: "clinic", table: name, foundCount: count, returnedCount: returned});
    }
    return {fieldData: {Name: "Adams"}, portalData, recordId: "41", modId: "0", portalDataInfo};
}

const asked = [];
const server = http.createServer((request, answer) => {
    const url = new URL(request.url, "http://127.0.0.1");
    let response = {token: "token"};
    if (!url.pathname.endsWith("/sessions")) {
        asked.push(decodeURIComponent(url.pathname.split("/layouts/")[1] + url.search));
        const dataInfo = {database: "clinic", layout: "Patients", table: "Patients",
            totalRecordCount: 1, foundCount: 1, returnedCount: 1};
        response = {dataInfo, data: [record(url.searchParams)]};
    }
    answer.writeHead(200, {"Content-Type": "application/json", "X-FM-Data-Access-Token": "token"});
    answer.end(JSON.stringify({response, messages: [{code: "0", message: "OK"}]}));
});
await new Promise((started) => server.listen(0, "127.0.0.1", started));

const accept = (fields) => ({"~standard": {version: 1, vendor: "example", validate: (value) => {
    const missing = fields.filter((field) => !(field in value));
    return missing.length ? {issues: missing.map((field) => ({message: `no ${field}`}))} : {value};
}}});
const adapter = new FetchAdapter({server: `http://127.0.0.1:${server.address().port}`, db: "clinic",
    auth: {username: "reader", password: "reader"}});
const plain = DataApi({adapter, layout: "Patients"});
const schema = {fieldData: accept(["Name"]), portalData: {Allergies: accept(["Allergies::Text"])}};
const checked = DataApi({adapter, layout: "Patients", schema});

const portalRanges = {Doses: {limit: 1000}};
const answers = {
    "list": await plain.list({portalRanges}),
    "get": await plain.get({recordId: 41, portalRanges, "layout.response": "Patients"}),
    "list with a schema": await checked.list({portalRanges}),
    "get with a schema": await checked.get({recordId: 41, portalRanges}),
};
server.closeAllConnections();
server.close();

console.log("fmdapi", JSON.parse(fs.readFileSync("node_modules/@proofkit/fmdapi/package.json")).version);
const seen = [];
for (const [at, [method, {data: [{portalData, portalDataInfo}]}]] of Object.entries(answers).entries()) {
    seen.push([portalData.Doses.length, portalData.Allergies.length].join(" "));
    console.log(`${method} (${asked[at]}): ${portalData.Doses.length} doses of ${portalDataInfo[0].foundCount},`,
        `${portalData.Allergies.length} allergies of ${portalDataInfo[1].foundCount}`);
}
process.exitCode = Number(String(seen) !== "120 3,50 3,0 3,0 3" || asked[1] !== "Patients/records/41");
END_OF_SCRIPT
node read.js
