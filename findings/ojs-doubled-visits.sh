#!/bin/sh
# o.js stores 20 visits as 381 records if they are sent at the same time: each request sends the ones before it once more.
#
# A handler of o.js (odata 2.0.1 in npm) is meant to be used many times. It keeps its requests in one list, and empties that only
# when an answer is there. Who calls post(...).query() for several records without waiting for each (Promise.all) sends with the
# second also the first, and so on; 3 visits become 7. Each call succeeds. Two reads at the same time change each other: the
# second has a list of both results, and the query options of the second are sent for the first set as well. A filter that is
# given as text stays in the handler, if it was made with a default query: who asks for one patient with it, and then for all
# patients, gets the one, and of the visits those with the patient's number. A copy that goes by such an answer ends early.
#
# Needs node 20 or newer and npm. FileMaker's OData is a small server in this script.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts odata@2.0.1 >log 2>&1 || { cat log; exit 1; }

cat >sent.cjs <<'END'
const http = require("http");
const { o } = require("odata");

const stored = { Patients: [{ id: 1 }, { id: 7 }, { id: 9 }], Visits: [] };
let asked = [];
const server = http.createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    const [set, query = ""] = decodeURIComponent(request.url).split("/").pop().split("?");
    if (request.method === "GET") asked.push(`${set}?${query}`);
    const wanted = /id eq (\d+)/.exec(query);
    let answer = { value: stored[set].filter((row) => !wanted || row.id === Number(wanted[1])) };
    if (request.method === "POST") stored[set].push((answer = JSON.parse(body)));
    response.writeHead(request.method === "POST" ? 201 : 200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(answer));
  });
});

async function main() {
  const service = `http://127.0.0.1:${server.address().port}/fmi/odata/v4/clinic/`;
  console.log("odata (o.js)", require("odata/package.json").version);
  const handler = o(service);
  const numbers = {};
  for (const visits of [1, 3, 20]) {
    stored.Visits = [];
    await Promise.all(Array.from({ length: visits }, (_, id) => handler.post("Visits", { id }).query()));
    numbers[visits] = stored.Visits.length;
  }
  console.log("visits sent, and stored:", numbers);

  stored.Visits = [];
  for (let id = 0; id < 20; id++) await handler.post("Visits", { id }).query();
  const waited = stored.Visits.length;
  console.log("20 visits, each after the one before it:", waited);

  await Promise.all([handler.get("Patients").query({ $filter: "id eq 1" }), handler.get("Visits").query({ $filter: "id eq 2" })]);
  const together = asked;
  console.log("two reads at the same time:", together);

  asked = [];
  const limited = o(service, { query: { $top: "1000" } });
  const one = await limited.get("Patients").query("$filter=id eq 7");
  const all = await limited.get("Patients").query();
  console.log("one patient:", one, "all patients, after that:", all, asked);

  const same = (left, right) => JSON.stringify(left) === JSON.stringify(right);
  return (
    numbers[1] === 1 &&
    numbers[3] > 3 &&
    numbers[20] > 100 &&
    waited === 20 &&
    same(together.sort(), ["Patients?$filter=id eq 1", "Patients?$filter=id eq 2", "Visits?$filter=id eq 2"]) &&
    same(one, [{ id: 7 }]) &&
    same(all, one)
  );
}

server.listen(0, "127.0.0.1", () =>
  main()
    .then((right) => (process.exitCode = right ? 0 : 1))
    .finally(() => {
      server.close();
      server.closeAllConnections();
    }),
);
END
node sent.cjs
