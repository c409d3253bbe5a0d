#!/bin/sh
# vcf-merger makes one person of two of the same name: two birth dates, both telephone numbers, and the notes on allergies of both.
#
# The program (2025.12.31) merges address books (vCard) and, says the README, "identifies duplicates based on normalized names, phone
# numbers, and email addresses". It knows a number only in a line that begins with TEL, and an address only in one with EMAIL. The
# standard lets a line begin with the name of a group, and Apple's address book writes a number with a label of its own so,
# item1.TEL; nor does the standard tell capital letters from small ones. Whose numbers are all written in one of these ways has none
# for the program, and is merged with each other person of that name; without -v it says nothing. Written as TEL, the same two
# stay two. The labels belong to the groups: in the merged card "Daughter" and "Office" stand at each of the two numbers.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check vcf-merger==2025.12.31 vobject==0.9.9 2>"$folder/log"

cd "$folder"
venv/bin/python - <<'END'
import subprocess, sys
from importlib.metadata import version
from pathlib import Path
import vobject

PEOPLE = {
    "north.vcf": ("617-555-0111", "mary.a@example.com", "1950-01-05", "Allergic to penicillin", "Daughter"),
    "south.vcf": ("617-555-0199", "m.adams@example.com", "1987-06-20", "No allergies", "Office"),
}

def merged(phone, mail, label=None):
    """Write one card for each practice, merge the two, and return what is in the merged address book."""
    for file, (number, address, birthday, note, text) in PEOPLE.items():
        lines = ["BEGIN:VCARD", "VERSION:3.0", "FN:Mary Adams", "N:Adams;Mary;;;", f"BDAY:{birthday}", f"{phone};TYPE=CELL:{number}",
                 f"{mail};TYPE=INTERNET:{address}", f"NOTE:{note}", *([f"{label}:{text}"] if label else []), "END:VCARD"]
        Path(file).write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    done = subprocess.run(["venv/bin/vcf-merge", "merged.vcf", *PEOPLE], capture_output=True, text=True)
    found = []
    for person in vobject.readComponents(Path("merged.vcf").read_text()):
        parts = {name: sorted((line.group or "") + str(line.value) for line in person.contents.get(name, []))
                 for name in ("fn", "bday", "tel", "note", "x-ablabel")}
        found.append(parts)
    print(f"{phone} and {mail} - exit code {done.returncode}, said {(done.stdout + done.stderr)!r}, people: {len(found)}")
    print(*found, sep="\n", end="\n\n")
    return done.returncode == 0 and not done.stdout + done.stderr, found

print("vcf-merger", version("vcf-merger"))
plain = merged("TEL", "EMAIL")
grouped = merged("item1.TEL", "item2.EMAIL", "item1.X-ABLabel")
small = merged("tel", "email")
both = {"fn": ["Mary Adams"], "bday": ["1950-01-05", "1987-06-20"], "note": ["Allergic to penicillin", "No allergies"]}
sys.exit(not (
    all(silent for silent, _ in (plain, grouped, small))
    and [person["bday"] for person in plain[1]] == [["1950-01-05"], ["1987-06-20"]]
    and grouped[1] == [both | {"tel": ["item1617-555-0111", "item1617-555-0199"], "x-ablabel": ["item1Daughter", "item1Office"]}]
    and small[1] == [both | {"tel": ["617-555-0111", "617-555-0199"], "x-ablabel": []}]
))
END
