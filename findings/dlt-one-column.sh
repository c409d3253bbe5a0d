#!/bin/sh
# dlt loads all fields with Japanese names into one column: of a patient's name, day of birth and weight the weight is left.
#
# dlt (1.31.0) replaces each letter that is not ASCII by an underscore, and what is only underscores by `x`; K+ and K% are `kx`.
# Its documentation says that keys which become equal are merged. In fact the last one in the record wins, also if it is empty,
# and records of FileMaker lose more than a value: of two portals one is gone with all its rows, two tables become one, two
# patients of one name are one row, since the primary key is the name now. A schema contract that freezes the columns lets a
# new field overwrite an old one. Each load succeeds, without a line in the log. With SCHEMA__NAMING=direct nothing is lost.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1

"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'dlt[duckdb]==1.31.0' duckdb==2.0.1

cd "$folder"
HOME=$folder DLT_DATA_DIR=$folder/dlt RUNTIME__DLTHUB_TELEMETRY=false RUNTIME__LOG_LEVEL=WARNING \
    PYTHONIOENCODING=utf-8 "$folder/venv/bin/python" - 2>"$folder/errors" <<'END' || { cat "$folder/errors"; exit 1; }
import os, sys
import dlt

print("dlt", dlt.__version__)
right = True

def load(name, rows, expected, keys=(), **options):
    """Load `rows`, the tables by name, and compare what the database holds then: columns and rows of each table."""
    global right
    database = dlt.destinations.duckdb(f"{name}.duckdb")
    pipeline = dlt.pipeline(name, destination=database, dataset_name="data", pipelines_dir="pipelines")
    resources = [dlt.resource(some, name=table, primary_key=keys or None, **options) for table, some in rows.items()]
    try:
        pipeline.run(resources).raise_on_failed_jobs()
    except Exception as error:
        while error.__cause__:
            error = error.__cause__
        found = type(error).__name__
    else:
        found = {}
        with pipeline.sql_client() as client:
            for table in pipeline.default_schema.data_tables():
                columns = [column for column in table["columns"] if not column.startswith("_dlt")]
                listed = ", ".join(map(client.escape_column_name, columns))
                with client.execute_query(f"SELECT {listed} FROM {client.make_qualified_table_name(table['name'])}") as answer:
                    found[table["name"]] = columns, sorted(answer.fetchall(), key=str)
    print(f"{name}:", found)
    right &= found == expected

load("usual", {"doses": [{"ID": 1, "K": 4.1, "Na": 140}]}, {"doses": (["id", "k", "na"], [(1, 4.1, 140)])})
load("signs", {"doses": [{"ID": 1, "K+": 4.1, "K%": 12.5}]}, {"doses": (["id", "kx"], [(1, 12.5)])})
both = [{"ID": 1, "Dose mg": 5, "Dose_mg": 7}, {"ID": 2, "Dose mg": 5, "Dose_mg": None}]
load("empty", {"doses": both}, {"doses": (["id", "dose_mg"], [(1, 7), (2, None)])})

# name, day of birth, weight; portals: tests (value), doses (amount)
tests, doses = [{"値": 4.1}, {"値": 3.9}, {"値": 4.4}], [{"量": 20}]
record = {"ID": 1, "氏名": "Sample", "生年月日": "1980-01-02", "体重": 60, "検査": tests, "投与": doses}
load("fields_and_portals", {"p": [record]}, {"p": (["id", "x"], [(1, 60)]), "p__x": (["x"], [(20,)])})

# two tables: patients, doses
tables = {"患者": [{"ID": 1, "born": 1980}], "投与": [{"ID": 7, "mg": 5}]}
load("tables", tables, {"x": (["id", "born", "mg"], [(1, 1980, None), (7, None, 5)])}, write_disposition="replace")

# number, name; the number is the primary key
people = [{"番号": "1", "氏名": "A"}, {"番号": "2", "氏名": "A"}, {"番号": "3", "氏名": "B"}]
load("key", {"p": people}, {"p": (["x"], [("A",), ("B",)])}, "番号", write_disposition="merge")

strict = {"tables": "evolve", "columns": "freeze", "data_type": "freeze"}
merge = {"keys": "ID", "write_disposition": "merge", "schema_contract": strict}
load("frozen", {"doses": [{"ID": 1, "K+": 4.1}]}, {"doses": (["id", "kx"], [(1, 4.1)])}, **merge)
load("frozen", {"doses": [{"ID": 1, "K+": 4.1, "K%": 12.5}]}, {"doses": (["id", "kx"], [(1, 12.5)])}, **merge)
load("frozen", {"doses": [{"ID": 1, "K+": 4.1, "Na": 140.0}]}, "DataValidationError", **merge)

os.environ["SCHEMA__NAMING"] = "direct"
whole = {"p": (["ID", "氏名", "生年月日", "体重"], [(1, "Sample", "1980-01-02", 60)])}
whole |= {"p▶検査": (["値"], [(3.9,), (4.1,), (4.4,)]), "p▶投与": (["量"], [(20,)])}
load("direct", {"p": [record]}, whole)
sys.exit(not right)
END
if grep '|dlt|' "$folder/errors"; then exit 1; fi
echo "lines in the log: none"
