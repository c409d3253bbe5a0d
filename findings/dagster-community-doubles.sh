#!/bin/sh
# unique_dedup of Dagster's community components, asked for the patients that are twice in a table, says none if it runs on polars.
#
# The component (dagster-community-components 0.10.120) gives the unique rows of a table, or those that repeat one (output_mode
# duplicates), with pandas or with polars as its backend. With polars it looks for rows whose key is not among the unique ones, and each
# key is: the list is empty whatever the table holds. output_mode all marks rows that are equal in each column, and not those of equal
# key. So a check before a migration passes that fails with the other backend. If a column of the key is not in the table, because the
# export calls it otherwise, the rest of the key is used: with "name" and "born", and "dob" in the export, of two patients of
# one name the second one is dropped. For that there is a warning in the log; the run succeeds.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dagster-community-components==0.10.120 dagster==1.13.27 pandas==2.3.3 polars==2.1.0 \
    pyarrow==26.0.1 2>"$folder/log"

cd "$folder"
DAGSTER_HOME="$folder" "$folder/venv/bin/python" - <<'END'
import logging, sys, warnings
from importlib.metadata import version
import dagster, pandas
from dagster_community_components import UniqueDedupComponent

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

def run(mode, backend, born="born"):
    """Runs the component on three patients, of whom one is there twice; returns the numbers of the rows that it gives."""
    @dagster.asset
    def patients() -> pandas.DataFrame:
        return pandas.DataFrame({"row": [1, 2, 3, 4], "name": ["Adams", "Adams", "Adams", "Brown"], born: ["1970", "1970", "1999", "1980"]})

    made = UniqueDedupComponent(asset_name="checked", upstream_asset_key="patients", subset=["name", "born"], output_mode=mode,
        backend=backend).build_defs(None)
    result = dagster.materialize([patients, *made.assets]).asset_value("checked")
    table = result if isinstance(result, pandas.DataFrame) else result.to_pandas()
    marks = [name for name in table.columns if table[name].dtype == bool]
    rows = table[table[marks[0]]]["row"].tolist() if marks else table["row"].tolist()
    print(f"{mode} with {backend}, columns name and {born}: rows {rows}")
    return rows

print("dagster-community-components", version("dagster-community-components"), "- polars", version("polars"))
unique = run("unique", "pandas"), run("unique", "polars")
doubles = run("duplicates", "pandas"), run("duplicates", "polars")
marked = run("all", "pandas"), run("all", "polars")
renamed = run("unique", "pandas", born="dob"), run("unique", "polars", born="dob")
sys.exit(not (unique == ([1, 3, 4], [1, 3, 4]) and doubles == ([2], []) and marked == ([2], []) and renamed == ([1, 4], [1, 4])))
END
