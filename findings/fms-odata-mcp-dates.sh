#!/bin/sh
# fms-odata-mcp takes the dates of a filter apart: of "Day ge 2026-01-05" FileMaker is asked "Day ge 2026 -01 -05".
#
# The server gives an AI assistant FileMaker's tables over OData. It cuts each filter into words, to quote foreign letters, and
# puts them together with blanks; a date, time or timestamp, which OData has without quotation marks, is several words to it.
# So neither a query nor a count can ask about a day. Where FileMaker has more rows it says "Returned 10000 record(s)" alone:
# it drops the link to the next page, and also the count that was asked for, which FileMaker calls @count in its answer to a
# request that names no version of OData. The tool that reads all pages ends with "require is not defined" each time. Where it
# cannot read an answer, since FileMaker may write a number as .5, it says "Returned 0 record(s)", as of a table without rows.
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
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts fms-odata-mcp@0.9.0

cat >ask.js <<'END_OF_SCRIPT'
import {spawn} from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import readline from "node:readline";

const HELD = 15149;
const asked = [];
const filemaker = http.createServer((request, answer) => {
    const url = new URL(request.url, "http://127.0.0.1");
    const table = url.pathname.split("/clinic/")[1];
    const filter = url.searchParams.get("$filter");
    asked.push(filter);
    let body = JSON.stringify({value: [{name: "Visits", kind: "EntitySet", url: "Visits"}]});
    if (filter && !/^\w+ ge \d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$/.test(filter)) {
        answer.statusCode = 400;
        body = JSON.stringify({error: {code: "-1002", message: "syntax error in URL"}});
    } else if (table === "Visits") {
        const value = Array.from({length: 10000}, (_, at) => ({ID: at + 1}));
        body = JSON.stringify({"@count": HELD, value, "@nextLink": "Visits?$count=true&$skip=10000"});
    } else if (table === "Doses") {
        body = '{"value": [{"ID": 1, "Dose": 2}, {"ID": 2, "Dose": .5}]}';
    }
    answer.setHeader("Content-Type", "application/json;odata.metadata=minimal");
    answer.setHeader("OData-Version", "4.01");
    answer.end(body);
});
await new Promise((started) => filemaker.listen(0, "127.0.0.1", started));

const mcp = spawn(process.execPath, ["node_modules/fms-odata-mcp/dist/bin/cli.js"],
    {env: {PATH: process.env.PATH, HOME: process.cwd(), MCP_TRANSPORT: "stdio"}, stdio: ["pipe", "pipe", "ignore"]});
mcp.on("close", () => {
    filemaker.closeAllConnections();
    filemaker.close();
});
const waiting = new Map();
readline.createInterface({input: mcp.stdout}).on("line", (line) => {
    const {id, result} = JSON.parse(line);
    waiting.get(id)?.(result);
});
const send = (message) => mcp.stdin.write(`${JSON.stringify({jsonrpc: "2.0", ...message})}\n`);
const request = (method, params) => new Promise((resolve) => {
    waiting.set(waiting.size + 1, resolve);
    send({id: waiting.size, method, params});
});
const tool = async (name, values) => (
    (await request("tools/call", {name: `fm_odata_${name}`, arguments: values})).content[0].text.split("\n")
);

await request("initialize", {protocolVersion: "2024-11-05", capabilities: {}, clientInfo: {name: "example", version: "1"}});
send({method: "notifications/initialized"});
const server = `http://127.0.0.1:${filemaker.address().port}`;
await tool("connect", {server, database: "clinic", user: "reader", password: "reader"});

console.log("fms-odata-mcp", JSON.parse(fs.readFileSync("node_modules/fms-odata-mcp/package.json")).version);
const sent = [];
const questions = {query_records: "Day ge 2026-01-05", count_records: "Seen ge 2026-01-05T09:30:00Z"};
for (const [name, filter] of Object.entries(questions)) {
    const [said] = await tool(name, {table: "Visits", filter});
    sent.push(asked.at(-1));
    console.log(`${name} with ${filter}:`, said);
    console.log("    FileMaker was asked", sent.at(-1));
}
const rows = await tool("query_records", {table: "Visits", count: true});
const named = rows.some((line) => line.includes(HELD) || line.includes("nextLink"));
console.log(`query_records of ${HELD} visits, with a count: ${rows[0]},`, named ? "and names the rest" : "no word of more");
const [all] = await tool("query_all_records", {table: "Visits"});
console.log("query_all_records:", all);
const [doses] = await tool("query_records", {table: "Doses"});
console.log("query_records of the doses 2 and .5:", doses);
mcp.kill();

const expected = ["Day ge 2026 -01 -05", "Seen ge 2026 -01 -05 T09:30:00Z"];
const described = String(sent) === String(expected) && rows[0] === "Returned 10000 record(s)" && !named
    && all === "Error: require is not defined" && doses === "Returned 0 record(s)";
process.exitCode = Number(!described);
END_OF_SCRIPT
node ask.js
