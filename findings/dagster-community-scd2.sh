#!/bin/sh
# ScdType2Component of Dagster's community components gives each patient with an empty field a new version with every run.
#
# The component (dagster-community-components 0.10.120) keeps the history of a table: a row that changed is closed, and a new one is
# opened. It compares the tracked columns by "!=", and an empty field of an export that pandas has read is never equal to itself. So whoever
# has no telephone number, or no allergy, changes each night: the history grows by all of them, and says of each that something
# changed on that day. A column that the export has no longer, or that comes from elsewhere, is emptied in each row that did not
# change. ScdType1Component ("replacing changed attributes") has the opposite: what was emptied in the source never gets empty
# in the target, a withdrawn allergy or an old address stays. No error, no warning.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dagster-community-components==0.10.120 dagster==1.13.27 pandas==2.3.3 2>"$folder/log"

cd "$folder"
DAGSTER_HOME="$folder" "$folder/venv/bin/python" - <<'END'
import io, logging, sys, warnings
from importlib.metadata import version
import dagster, pandas
from dagster_community_components import ScdType1Component, ScdType2Component

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

def read(text):
    return pandas.read_csv(io.StringIO(text), dtype=str)

def run(component, rows, stored, **options):
    """Runs the component with the rows of an export and the table that is stored; returns the new table."""
    @dagster.asset
    def export() -> pandas.DataFrame:
        return rows

    @dagster.asset
    def table() -> pandas.DataFrame:
        return stored

    made = component(asset_name="patients", upstream_asset_key="export", upstream_target_key="table",
        business_key_columns=["chart"], **options).build_defs(None)
    return dagster.materialize([export, table, *made.assets]).asset_value("patients")

print("dagster-community-components", version("dagster-community-components"), "- pandas", version("pandas"))
export = read("chart,phone,allergy\n1,0412,\n2,,penicillin\n3,0477,latex\n")
history = export.assign(note=["one", "two", "three"], effective_from=pandas.Timestamp("2026-01-01", tz="UTC"),
    effective_to=pandas.NaT, is_current=True)
counts = []
for night in range(1, 4):
    history = run(ScdType2Component, export, history, track_columns=["phone", "allergy"])
    counts.append({chart: int((history["chart"] == chart).sum()) for chart in ("1", "2", "3")})
    print(f"versions after {night} runs with the same export:", counts[-1])
unchanged = history[history["chart"] == "3"]["note"].isna().tolist()
print("patient 3 has not changed; is the note, which is not in the export, gone?", unchanged)

stored = read("chart,phone,allergy\n1,0412,penicillin\n2,0498,latex\n")
now = run(ScdType1Component, read("chart,phone,allergy\n1,,\n2,0499,latex\n"), stored)
print("type 1: patient 1 has no phone and no allergy in the export, and in the table:", now.iloc[0, 1:].tolist())
right = (
    counts == [{"1": 2, "2": 2, "3": 1}, {"1": 3, "2": 3, "3": 1}, {"1": 4, "2": 4, "3": 1}]
    and unchanged == [True]
    and now.to_dict("list") == {"chart": ["1", "2"], "phone": ["0412", "0499"], "allergy": ["penicillin", "latex"]}
)
sys.exit(not right)
END
