#!/bin/sh
# Dagster's DuckDB IO manager puts family names into the column of given names if an asset returns its columns in another order.
#
# dagster-duckdb-pandas (0.29.27) keeps the table that the first run made, deletes its rows and inserts the new ones with
# "insert into ... select *": DuckDB takes the columns by their place. An export whose columns were moved, or where one was replaced
# by another of its type, is stored under the old names, and the run succeeds. Dagster's page shows the new order, since it takes it
# from the DataFrame and not from the table. The rows are deleted outside of a transaction: if the insert fails, because the
# export has a column more or a text among the numbers, the run fails, and the table that was right yesterday is empty. Whoever
# reads it (another asset, a report) sees no patients and no error.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dagster-duckdb-pandas==0.29.27 dagster==1.13.27 duckdb==2.0.1 pandas==2.3.3 2>"$folder/log"

cd "$folder"
DAGSTER_HOME="$folder" "$folder/venv/bin/python" - <<'END'
import logging, sys
from importlib.metadata import version
import dagster, duckdb, pandas
from dagster_duckdb_pandas import DuckDBPandasIOManager

logging.disable(logging.CRITICAL)
export = {}

@dagster.asset
def patients() -> pandas.DataFrame:
    return pandas.DataFrame(export["rows"], columns=export["columns"])

@dagster.asset
def letters(patients: pandas.DataFrame) -> None:
    """Reads the table as the next step of a pipeline does."""
    export["read"] = patients.to_dict("records")

def run(what, columns, *rows):
    """Runs the asset with this export; returns if it succeeds, the table, and the columns that Dagster's page shows."""
    export.update(columns=columns.split(), rows=rows)
    manager = {"io_manager": DuckDBPandasIOManager(database="clinic.duckdb", schema="main")}
    result = dagster.materialize([patients], resources=manager, raise_on_error=False)
    dagster.materialize([patients, letters], selection=[letters], resources=manager)
    shown = [column.name for event in result.asset_materializations_for_node("patients")
        for column in event.metadata["dataframe_columns"].value.columns]
    print(f"{what}: the run {'succeeds' if result.success else 'fails'}; the next asset reads {export['read']}")
    return result.success, export["read"], shown

print("dagster-duckdb-pandas", version("dagster-duckdb-pandas"), "- duckdb", version("duckdb"))
adams = {"family": "Adams", "given": "Scott"}
first = run("family, given", "family given", ("Adams", "Scott"))
moved = run("given, family", "given family", ("Scott", "Adams"))
print("   Dagster's page shows", moved[2])
again = run("family, given", "family given", ("Adams", "Scott"))
other = run("maiden name, given", "maiden given", ("Clark", "Scott"))
again = run("family, given", "family given", ("Adams", "Scott"))
more = run("family, given, and a note", "family given note", ("Adams", "Scott", "asthma"))
right = (
    first[:2] == (True, [adams]) == again[:2]
    and moved == (True, [{"family": "Scott", "given": "Adams"}], ["given", "family"])
    and other[:2] == (True, [{"family": "Clark", "given": "Scott"}])
    and more[:2] == (False, [])
)
sys.exit(not right)
END
