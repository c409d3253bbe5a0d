#!/bin/sh
# csvkit changes a negative time with each of its tools in a pipe: -01:30:00 is 1.5 hours before, then 46.5, then 49.5.
#
# A FileMaker time may be negative: a dose that was given before it was due. csvsort, csvjoin and in2csv (2.2.0) guess types, and
# write this one as "-1 day, 22:30:00": a day back, then forward by 22.5 hours, which is right. The next tool takes the minus for
# the whole of it, a day and 22.5 hours back. The order of the rows turns round, sums are wrong by days, and the exit code is 0.
# One tool alone is right; positive times and whole days stay; csvsort -I (no types) keeps all. csvcut, csvgrep and csvstack do
# not guess.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1

"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check csvkit==2.2.0 agate==1.14.2 pytimeparse==1.1.10

"$folder/venv/bin/python" - "$folder" <<'END'
import csv, subprocess, sys
from importlib.metadata import version
from pathlib import Path

folder = Path(sys.argv[1])
print("csvkit", version("csvkit"))
times = ["-01:30:00", "-00:00:10", "-48:00:00", "00:30:00", "36:00:00"]
source = "\n".join(["ID,Late", *(f"{number},{time}" for number, time in enumerate(times, 1))]) + "\n"
(folder / "patients.csv").write_text("ID,Patient\n" + "".join(f"{number},P-{number}\n" for number in range(1, 6)))
right = True

def pipe(*tools):
    text = source
    for tool in tools:
        program, *options = tool.split()
        done = subprocess.run([folder / "venv/bin" / program, *options], input=text, cwd=folder, capture_output=True, text=True)
        assert not done.returncode and not done.stderr, done.stderr
        text = done.stdout
    return text

def check(tools, expected):
    global right
    rows = list(csv.DictReader(pipe(*tools).splitlines()))
    found = {int(row["ID"]): row["Late"] for row in rows}
    print(" | ".join(tools) + ":", found)
    right &= list(found.items()) == list(expected.items())  # the order too

stay = {3: "-2 days, 0:00:00", 4: "0:30:00", 5: "1 day, 12:00:00"}
by_number = ["csvsort -c ID"]
check(by_number, {1: "-1 day, 22:30:00", 2: "-1 day, 23:59:50", **stay})
check(by_number * 2, {1: "-2 days, 1:30:00", 2: "-2 days, 0:00:10", **stay})  # 46.5 hours
check(by_number * 3, {1: "-3 days, 22:30:00", 2: "-3 days, 23:59:50", **stay})  # 49.5 hours
check([*by_number, "in2csv -f csv"], {1: "-2 days, 1:30:00", 2: "-2 days, 0:00:10", **stay})
check([*by_number, "csvjoin -c ID - patients.csv"], {1: "-2 days, 1:30:00", 2: "-2 days, 0:00:10", **stay})

rest = {4: "0:30:00", 5: "1 day, 12:00:00"}
check(["csvsort -c Late"], {3: "-2 days, 0:00:00", 1: "-1 day, 22:30:00", 2: "-1 day, 23:59:50", **rest})
check(["csvsort -c Late"] * 2, {3: "-2 days, 0:00:00", 2: "-2 days, 0:00:10", 1: "-2 days, 1:30:00", **rest})

as_they_were = dict(enumerate(times, 1))
check(["csvsort -I -c ID"] * 3, as_they_were)
check(["csvcut -c ID,Late", "csvgrep -c ID -r .", "csvstack"], as_they_were)

sums = [pipe(*by_number * count, "csvstat -c Late --sum").strip() for count in range(2)]
print("the sum of the times:", sums[0], "- behind one csvsort:", sums[1])
right &= sums == ["-1 day, 10:59:50", "-5 days, 14:00:10"]  # -13:00:10, -105:59:50
sys.exit(not right)
END
