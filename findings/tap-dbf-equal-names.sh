#!/bin/sh
# tap-dbf logs "Extracting from north/VISITS.DBF", and gives the rows of south/VISITS.DBF only: files of one name replace each other.
#
# The Singer tap (0.1.25) takes a pattern for its path, and names the stream of each file after the file without its folder. The
# streams are kept by name, so of several files of one name the last is left. FileMaker names an export after its table by
# default or by a script, so exports of several sites or days lie in folders of their own, with equal names. No row of the others
# comes, the log has the line "Extracting from" for each of them, the count of rows is that of the last file, and the exit code is
# 0. The column _sdc_filepath, which tells files apart, shows one path.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tap-dbf==0.1.25 2>"$folder/log"

PATH="$folder/venv/bin:$PATH" python - "$folder" <<'END'
import json, struct, subprocess, sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

folder = Path(sys.argv[1])
FIELDS = [("PATIENT", "C", 8, 0), ("DAY", "D", 8, 0)]


def export(path, rows):
    """Write rows as a dBase III file (a header, 32 bytes for each field, rows of fixed length)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = b"".join(struct.pack("<11sc4xBB14x", name.encode(), kind.encode(), length, decimals) for name, kind, length, decimals in FIELDS)
    size = 1 + sum(length for _, _, length, _ in FIELDS)
    header = struct.pack("<4BIHH20x", 3, 126, 1, 5, len(rows), 32 + len(fields) + 1, size)
    content = b"".join(b" " + "".join(value.ljust(field[2]) for value, field in zip(row, FIELDS)).encode() for row in rows)
    path.write_bytes(header + fields + b"\r" + content + b"\x1a")


def rows_of(pattern):
    """Answer how many rows the tap gives of each file, and what its log says."""
    config = folder / "config.json"
    config.write_text(json.dumps({"path": str(folder / pattern)}))
    done = subprocess.run(["tap-dbf", "--config", config], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    paths = (message["record"]["_sdc_filepath"] for message in messages if message["type"] == "RECORD")
    return dict(Counter(str(Path(path).relative_to(folder)) for path in paths)), done.stderr.count("Extracting from")


for site, count in [("north", 4), ("south", 3)]:
    rows = [(f"{site[0].upper()}-{at}", "20260105") for at in range(count)]
    export(folder / "folders" / site / "VISITS.DBF", rows)
    export(folder / "names" / f"{site}.dbf", rows)
print("tap-dbf", version("tap-dbf"), "- north has 4 visits, south 3")
names = rows_of("names/*.dbf")
folders = rows_of("folders/*/VISITS.DBF")
for (rows, logged) in (names, folders):
    print(f"'Extracting from' {logged} files:", *(f"{path}: {count} rows" for path, count in rows.items()))
sys.exit((names, folders) != (({"names/north.dbf": 4, "names/south.dbf": 3}, 2), ({"folders/south/VISITS.DBF": 3}, 2)))
END
