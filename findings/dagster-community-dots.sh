#!/bin/sh
# Dagster's community components keep the studies 1.2.840.1.17 and 1.2.840.1.18 in one file: the second one replaces the first.
#
# The package (0.10.120) has IO managers that store each partition of an asset as a file in a folder: as CSV, as JSON Lines, as Parquet. The
# end of the file's name is set by a call that takes what stands behind the last dot for an ending, and replaces it. So partitions that
# differ there are one file: the UIDs of DICOM, most of which do, dr.adams and dr.brown, visits.csv and visits.xml. Each run succeeds
# and gives the path as its metadata, both partitions are shown as materialized, and what is left is the last one's. Also, CSV and
# JSON Lines come back with other values than were stored: chart 007 is the number 7 for the next asset, although JSON has it as text.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dagster-community-components==0.10.120 dagster==1.13.27 pandas==2.3.3 pyarrow==26.0.1 \
    2>"$folder/log"

cd "$folder"
DAGSTER_HOME="$folder" "$folder/venv/bin/python" - <<'END'
import logging, sys, warnings
from importlib.metadata import version
from pathlib import Path
import dagster, pandas
import dagster_community_components as components

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
charts = {"1.2.840.1.17": "007", "1.2.840.1.18": "0123"}
partitions = dagster.StaticPartitionsDefinition(list(charts))

@dagster.asset(partitions_def=partitions)
def studies(context) -> pandas.DataFrame:
    return pandas.DataFrame({"study": [context.partition_key], "chart": [charts[context.partition_key]]})

@dagster.asset(partitions_def=partitions)
def letters(context, studies: pandas.DataFrame) -> None:
    """Reads the partition as the next step of a pipeline does."""
    read.append(studies["chart"].tolist()[0])

print("dagster-community-components", version("dagster-community-components"))
right = True
for kind, ending in {"Csv": ".csv", "Json": ".jsonl", "Parquet": ".parquet"}.items():
    made = getattr(components, f"Local{kind}IOManagerComponent")(base_dir=kind).build_defs(None)
    instance, read = dagster.DagsterInstance.ephemeral(), []
    for key in charts:
        dagster.materialize([studies, letters], partition_key=key, resources=made.resources, instance=instance)
    done = sorted(instance.get_materialized_partitions(dagster.AssetKey("studies")))
    files = [file for file in sorted(Path(kind).rglob("*")) if file.is_file()]
    left = b"1.2.840.1.17" in files[0].read_bytes(), b"1.2.840.1.18" in files[0].read_bytes()
    print(f"{kind}: materialized {done}, files {[file.name for file in files]}, in it: the first {left[0]}, the second {left[1]};", end=" ")
    print("the charts 007 and 0123 come back as", [str(chart) for chart in read])
    right = right and done == list(charts) and [file.name for file in files] == [f"1.2.840.1{ending}"] and left == (False, True)
    right = right and [str(chart) for chart in read] == (["007", "0123"] if kind == "Parquet" else ["7", "123"])
sys.exit(not right)
END
