#!/bin/sh
# @odata/client takes the empty list for no condition: the patients who are in [] are all patients of the table.
#
# filter().field("Id").in(ids) becomes "Id eq 'P1' or Id eq 'P2'" (2.21.10). Of an empty list nothing is left, and the request has no
# filter; what is done with its rows is then done to everybody. Conditions on one field are joined by "or" as soon as one of them
# is "eq", whatever the others are: in(["P1", "P2"]) and then ne("P2") gives every patient as well ("Id eq 'P1' or Id eq 'P2' or Id
# ne 'P2'"), and a status of "open" that is ne "merged" gives "open" and each other one. The methods are chained with nothing between
# them that says "or"; without an "eq", the same chain is joined by "and". No error. count(filter) is wrong in the same way.
#
# Needs node 20 or newer and npm. The OData server is a small one in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
echo '{"type": "module", "private": true}' >package.json
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts @odata/client@2.21.10

cat >read.js <<'END'
import fs from "node:fs";
import http from "node:http";
import odata from "@odata/client";

const {OData} = odata;
const patients = ["P1", "P2", "P3", "P4"].map((Id, at) => ({Id, Status: ["open", "open", "closed", "merged"][at]}));

function matches(row, filter) {
    const compared = filter.replace(/(\w+) (eq|ne) '(\w+)'/g, (_, field, sign, value) => (row[field] === value) === (sign === "eq"));
    const words = compared.replaceAll(" and ", "&&").replaceAll(" or ", "||");
    if (!/^[truefals&|()]*$/.test(words)) {
        throw new Error(filter);
    }
    return Function(`return ${words}`)();
}

let asked;
const server = http.createServer((request, answer) => {
    const parameters = new URL(request.url, "http://127.0.0.1").searchParams;
    asked = parameters.get("$filter");
    const rows = asked ? patients.filter((row) => matches(row, asked)) : patients;
    answer.writeHead(200, {"Content-Type": "application/json", "OData-Version": "4.0"});
    answer.end(JSON.stringify({"@odata.count": rows.length, value: rows.slice(0, parameters.get("$top") ?? rows.length)}));
});
await new Promise((started) => server.listen(0, "127.0.0.1", started));
const client = OData.New4({serviceEndpoint: `http://127.0.0.1:${server.address().port}/odata/`});
const table = client.getEntitySet("Patients");
const filter = () => OData.newFilter();

console.log("@odata/client", JSON.parse(fs.readFileSync("node_modules/@odata/client/package.json")).version);
console.log("patients:", ...patients.map(({Id, Status}) => `${Id} ${Status}`));
const found = {};
for (const [name, condition] of Object.entries({
    "in P1, P2": filter().field("Id").in(["P1", "P2"]),
    "in nothing": filter().field("Id").in([]),
    "in P1, P2, but not P2": filter().field("Id").in(["P1", "P2"]).field("Id").ne("P2"),
    "status open and not merged": filter().field("Status").eq("open").field("Status").ne("merged"),
    "neither P1 nor P2": filter().field("Id").ne("P1").field("Id").ne("P2"),
})) {
    found[name] = (await table.query(condition)).map((row) => row.Id).join(" ");
    console.log(`${name}: ${found[name]} - count: ${await table.count(condition)} - asked: ${asked ?? "no filter"}`);
}
server.closeAllConnections();
server.close();
process.exitCode = Number(JSON.stringify(Object.values(found)) !== JSON.stringify([
    "P1 P2", "P1 P2 P3 P4", "P1 P2 P3 P4", "P1 P2 P3", "P3 P4",
]));
END
node read.js
