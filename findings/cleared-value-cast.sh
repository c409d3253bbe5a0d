#!/bin/sh
# cleared's own advice for dates written in several ways deletes them, and `cleared verify` then finds a perfect match.
#
# cleared shifts the dates of patients' tables. It stops at a column with an unreadable date, and its message says to set
# "value_cast: datetime", which allows pandas "to infer formats automatically". The cast takes the first value's format for the
# whole column and empties every value written otherwise: after 2026-03-02 also 2026-03-09 08:30, which has a time. The run is a
# success. `cleared verify`, which compares the reversed table with the original, empties the original's dates in the same way
# before it compares: "All verifications passed!". (It then takes its own end for an error, so its exit code is 1 all the same.)
#
# Needs python3.11 and its venv (cleared is installed without presidio, which it asks for and never imports).
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" --no-deps cleared==0.4.11
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" colorlog==6.10.1 hydra-core==1.3.2 jinja2==3.1.6 networkx==3.5 \
    pandas==2.3.3 psycopg2-binary==2.9.11 ruamel-yaml==0.18.16 sqlalchemy==2.0.44 typer==0.20.0 yamllint==1.37.1

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END' 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
import subprocess, sys
from importlib.metadata import version
from pathlib import Path

here = Path.cwd()
table = "patient_id,visited\nP1,2026-03-02\nP1,2026-03-09 08:30\nP2,2026-04-01\nP2,5 May 2026\nP2,%s\n"
config = """name: clinic
deid_config: {time_shift: {method: shift_by_days, min: 10, max: 20}}
io:
  data:
    input_config: {io_type: filesystem, configs: {base_path: "HERE/in", file_format: csv}}
    output_config: {io_type: filesystem, configs: {base_path: "HERE/out", file_format: csv}}
  deid_ref:
    input_config: {io_type: filesystem, configs: {base_path: "HERE/ref", file_format: csv}}
    output_config: {io_type: filesystem, configs: {base_path: "HERE/ref", file_format: csv}}
  runtime_io_path: "HERE/runtime"
tables:
  visits:
    name: visits
    transformers:
      - method: DateTimeDeidentifier
        uid: visited
        configs: {idconfig: {name: patient_id, uid: patient_id}, datetime_column: visited}
"""
config = config.replace("HERE", str(here))
for folder in ("in", "out", "ref", "runtime", "reversed"):
    (here / folder).mkdir()
file = here / "cleared_config.yaml"

def cleared(*arguments):
    done = subprocess.run([here / "venv/bin/cleared", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr

print("cleared", version("cleared"), "with pandas", version("pandas"))
(here / "in/visits.csv").write_text(table % "unknown")
file.write_text(config)
code, said = cleared("run", file)
advice = [line for line in said.splitlines() if "value_cast: datetime" in line]
print("run with a date 'unknown', exit code", code, "-", advice[0].strip()[:110] if advice else said[-300:])

(here / "in/visits.csv").write_text(table % "2026-06-01")
file.write_text(config + "        value_cast: datetime\n")
ran, said = cleared("run", file)
shifted = (here / "out/visits.csv").read_text().split()
print("run as advised, exit code", ran, "-", shifted)
back, _ = cleared("reverse", file, "-o", here / "reversed")
restored = [line.partition(",")[2] for line in (here / "reversed/visits.csv").read_text().split("\n")[1:6]]
print("reverse, exit code", back, "-", restored)
verified, said = cleared("verify", file, here / "reversed")
passed = "All verifications passed!" in said
print("verify, exit code", verified, "- says that all passed:", passed)
right = code and advice and restored == ["2026-03-02", "", "2026-04-01", "", "2026-06-01"]
sys.exit(not (right and ran == back == 0 and passed))
END
