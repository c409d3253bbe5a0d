#!/bin/sh
# any-date-parser leaves out a digit of a date that has the other country's order: 31/12/1999 becomes 12 January 1999, a valid date.
#
# With the locale en-US (or a server that runs under it) 31/12/1999 cannot be month, day, year. The package (npm, 2.2.4) then
# looks for something that can, and finds 1/12/1999 inside: the 3 is dropped. With en-AU or de-DE 04/15/1985 becomes 4 January
# 1985, without the 5. So an export in which two kinds of dates were typed gives other birthdays instead of errors; isValid()
# is true, and what parser.attempt() returns has no sign of it. That 5/4/1985 has two meanings is known. Of the days that have
# one only, beyond the twelfth, each is read, and with en-US those on a 20th or 30th are right, the others wrong. Readings go the
# same way: 36.6 is 6 June of this year, and 120/80 is 20 August. (The documentation has this as a "fuzzy match" for parts.)
#
# Needs node 20 or newer and npm. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
npm install --cache cache --silent --no-audit --no-fund --ignore-scripts any-date-parser@2.2.4 >log 2>&1 || { cat log; exit 1; }

cat >dates.cjs <<'END'
const path = require("path");
const loaded = require("any-date-parser");
const parser = loaded.default || loaded;

const two = (number) => String(number).padStart(2, "0");
const read = (text, locale) => {
  const date = parser.fromString(text, locale);
  return date.isValid() ? `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}` : "invalid";
};

console.log("any-date-parser", require(path.join(process.cwd(), "node_modules/any-date-parser/package.json")).version);
const year = new Date().getFullYear();
const expected = {
  "31/12/1999 en-US": "1999-01-12",
  "15/04/1985 en-US": "1985-05-04",
  "15/04/1985 09:30 en-US": "1985-05-04",
  "15/04/1985 en-AU": "1985-04-15",
  "04/15/1985 en-AU": "1985-01-04",
  "04/15/1985 de-DE": "1985-01-04",
  "04/15/1985 en-US": "1985-04-15",
  "36.6 en-AU": `${year}-06-06`,
  "120/80 en-AU": `${year}-08-20`,
};
let right = true;
for (const [what, date] of Object.entries(expected)) {
  const at = what.lastIndexOf(" ");
  const found = read(what.slice(0, at), what.slice(at + 1));
  console.log(`${what.slice(0, at)} with ${what.slice(at + 1)}: ${found}`);
  right = right && found === date;
}
for (const [locale, byChance, write] of [
  ["en-US", 23, (y, m, d) => `${d}/${m}/${y}`],
  ["en-AU", 0, (y, m, d) => `${m}/${d}/${y}`],
]) {
  const count = { days: 0, valid: 0, right: 0 };
  for (let day = new Date(1985, 0, 1); day.getFullYear() === 1985; day.setDate(day.getDate() + 1)) {
    const [m, d] = [two(day.getMonth() + 1), two(day.getDate())];
    if (day.getDate() <= 12) continue;
    const found = read(write(1985, m, d), locale);
    count.days += 1;
    count.valid += found !== "invalid";
    count.right += found === `1985-${m}-${d}`;
  }
  console.log(`days of 1985 beyond the twelfth, in the other order, with ${locale}:`, count);
  right = right && count.days === 221 && count.valid === 221 && count.right === byChance;
}
process.exitCode = right ? 0 : 1;
END
node dates.cjs
