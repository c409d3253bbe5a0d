#!/bin/sh
# dagster-db stores patients' names although its transformation replaces them: what it checks and shows is not what it writes.
#
# The package (0.3.2) extends Dagster's DuckDB IO manager: "Apply custom generic transformations to ensure all outputs comply with
# database", "custom validation checks". A type handler has db_safe_transformations() for the first, and validate_obj_db() for the
# second. The manager calls both: it checks the transformed rows, and lists them on Dagster's page as sample_obj_db, with their types
# as the schema of the table. Then it writes the rows as the asset returned them. So names that were to be replaced are in the
# database, and rows that were to be left out; the check that no such row is there has passed, and the page shows none. Only the
# handler for SQL queries transforms what it writes. No error, no warning.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'dagster-db[duckdb]==0.3.2' dagster==1.13.27 duckdb==1.5.6 2>"$folder/log"

cd "$folder"
DAGSTER_HOME="$folder" "$folder/venv/bin/python" - <<'END'
import contextlib, io, logging, sys
from importlib.metadata import version
import dagster, pandas, polars
from dagster_db import DuckDbPandasTypeHandler, DuckDbPolarsTypeHandler, build_custom_duckdb_io_manager

logging.disable(logging.CRITICAL)

class WithoutNames(DuckDbPandasTypeHandler):
    """Leaves out tests, and gives a number in place of each name."""
    def db_safe_transformations(self, context, obj, connection):
        kept = obj[obj["status"] != "test"]
        return kept.assign(patient=[f"P{number}" for number in range(len(kept))])

    def validate_obj_db(self, context, obj_db, connection):
        checked.append(obj_db["patient"].tolist())
        assert obj_db["patient"].str.startswith("P").all() and "test" not in obj_db["status"].tolist()

class WithoutNamesInPolars(DuckDbPolarsTypeHandler):
    """The same for the other kind of DataFrame."""
    def db_safe_transformations(self, context, obj, connection):
        kept = obj.filter(polars.col("status") != "test")
        return kept.with_columns(patient=polars.Series([f"P{number}" for number in range(kept.height)]))

    def validate_obj_db(self, context, obj_db, connection):
        checked.append(obj_db["patient"].to_list())
        assert obj_db["patient"].str.starts_with("P").all() and "test" not in obj_db["status"].to_list()

rows = {"patient": ["Adams", "Brown", "Clark"], "status": ["open", "test", "closed"]}

@dagster.asset
def visits() -> pandas.DataFrame:
    return pandas.DataFrame(rows)

@dagster.asset
def stays() -> polars.DataFrame:
    return polars.DataFrame(rows)

@dagster.asset
def research(visits: pandas.DataFrame, stays: polars.DataFrame) -> None:
    """Reads the tables as the next step of a pipeline does."""
    read.extend([visits["patient"].tolist(), stays["patient"].to_list()])

checked, read = [], []
manager = build_custom_duckdb_io_manager([WithoutNames(), WithoutNamesInPolars()]).configured(
    {"database": "clinic.duckdb", "schema": "main"}
)
with contextlib.redirect_stdout(io.StringIO()):
    result = dagster.materialize([visits, stays, research], resources={"io_manager": manager})
shown = [
    [name for name in ("Adams", "Brown", "Clark", "P0", "P1") if name in event.metadata["sample_obj_db"].value]
    for asset in ("visits", "stays") for event in result.asset_materializations_for_node(asset)
]
print("dagster-db", version("dagster-db"), "- the run succeeds:", result.success)
print("checked before it writes:", checked)
print("shown on Dagster's page as sample_obj_db:", shown)
print("read from the database by the next asset:", read)
names = ["Adams", "Brown", "Clark"]
sys.exit(not (result.success and checked == [["P0", "P1"]] * 2 == shown and read == [names, names]))
END
