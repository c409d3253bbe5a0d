#!/bin/sh
# tap-jsonfile leaves out each record whose text has a line separator, and each line that it cannot read, without a word.
#
# The Singer tap (0.1.2) reads a file with one JSON object a line by Python's splitlines(), which also ends a line at U+2028 and U+0085.
# JSON allows both inside text (RFC 8259, 7), and texts that were pasted from a page or a word processor have them: the two halves
# of such a line are no JSON. A line that is no JSON is passed over. So is a number as FileMaker's OData may write it (.5); in a
# file that is one list, a single such value leaves out all records but the last, since each line before it ends with a comma.
# There is no warning, the exit code is 0, and the state has the file as read, so that a later run does not look at it again.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tap-jsonfile==0.1.2 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import json, subprocess, sys
from importlib.metadata import version
from pathlib import Path

notes = {1: "no allergy", 2: "first line\u2028second line", 3: "latex", 4: "before\u0085after", 5: "penicillin"}
Path("notes.jsonl").write_text("".join(json.dumps({"id": at, "note": note}, ensure_ascii=False) + "\n" for at, note in notes.items()))
Path("doses.jsonl").write_text('{"id": 11, "dose": 1.5}\n{"id": 12, "dose": .5}\n')
Path("list.json").write_text('[\n{"id": 21, "dose": 1.5},\n{"id": 22, "dose": .5},\n{"id": 23, "dose": 2.5}\n]\n')
Path("right.json").write_text('[\n{"id": 31, "dose": 1.5},\n{"id": 32, "dose": 0.5},\n{"id": 33, "dose": 2.5}\n]\n')
valid = [json.loads(line)["id"] for line in Path("notes.jsonl").read_text().split("\n") if line]

def read(name, *state):
    Path("config.json").write_text(json.dumps({"paths": [name]}))
    done = subprocess.run(["venv/bin/tap-jsonfile", "--config", "config.json", *state], capture_output=True, text=True)
    messages = [json.loads(line) for line in done.stdout.split("\n") if line]
    ids = [message["record"]["id"] for message in messages if message["type"] == "RECORD"]
    warnings = [line for line in done.stderr.splitlines() if "WARN" in line or "ERROR" in line]
    print(f"{name}: exit code {done.returncode}, ids {ids}, warnings {len(warnings)}")
    states = [message["value"] for message in messages if message["type"] == "STATE"]
    return done.returncode, ids, len(warnings), states[-1]

print("tap-jsonfile", version("tap-jsonfile"))
print("ids of the valid lines of notes.jsonl:", valid)
notes_read, doses_read, list_read, right_read = (read(name) for name in ("notes.jsonl", "doses.jsonl", "list.json", "right.json"))
Path("state.json").write_text(json.dumps(list_read[3]))
hashes = list(list_read[3]["bookmarks"]["records"]["file_hashes"])
print("files in the state after list.json:", [Path(path).name for path in hashes])
right = valid == [1, 2, 3, 4, 5] and notes_read[:3] == (0, [1, 3, 5], 0) and doses_read[:3] == (0, [11], 0)
right &= list_read[:3] == (0, [23], 0)
right &= right_read[:3] == (0, [31, 32, 33], 0) and len(hashes) == 1
sys.exit(not right)
END
