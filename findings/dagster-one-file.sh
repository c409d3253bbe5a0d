#!/bin/sh
# Two assets of Dagster may have one file for their values: of patients/north and the partition north of patients one is left.
#
# An IO manager stores what an asset returns. FilesystemIOManager, and others that are built on UPathIOManager as it is, make a
# path of the parts of the asset's key and of the partition's key, joined by slashes. So the partition "north" of the asset
# "patients" and the asset "patients/north" are one file, and so are the partitions scans + 2025/knee and scans/2025 + knee of two
# dimensions. The second one that runs replaces the first; whoever reads the first then gets the other's value, and nothing fails.
# Both are shown as materialized. Partition keys that come from outside (paths, sites, charts) may well hold a slash.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dagster==1.13.27 2>"$folder/log"
mkdir "$folder/dagster"
printf 'telemetry:\n  enabled: false\n' >"$folder/dagster/dagster.yaml"

cat >"$folder/run.py" <<'END'
import sys
from importlib.metadata import version
from dagster import (
    AssetKey, DagsterInstance, Definitions, FilesystemIOManager, MultiPartitionKey, MultiPartitionsDefinition,
    StaticPartitionsDefinition, asset, materialize,
)

@asset(partitions_def=StaticPartitionsDefinition(["north", "south"]))
def patients(context):
    return f"patients of the site {context.partition_key}"

@asset(key=["patients", "north"])
def northern_list():
    return "a list for the north"

folders = StaticPartitionsDefinition(["scans", "scans/2025"])
files = StaticPartitionsDefinition(["2025/knee", "knee"])

@asset(partitions_def=MultiPartitionsDefinition({"folder": folders, "name": files}))
def images(context):
    return str(context.partition_key.keys_by_dimension)

assets = [patients, northern_list, images]
manager = {"io_manager": FilesystemIOManager(base_dir=sys.argv[1])}
definitions = Definitions(assets=assets, resources=manager)
print("dagster", version("dagster"))

with DagsterInstance.ephemeral() as instance:
    def run(one, partition=None):
        return materialize([one], partition_key=partition, resources=manager, instance=instance).success

    def read(key, partition=None):
        return definitions.load_asset_value(AssetKey(key), partition_key=partition, instance=instance)

    succeeded = run(patients, "north") and run(northern_list)
    site = read("patients", "north")
    print("patients, partition north, reads:", site)
    one = MultiPartitionKey({"folder": "scans", "name": "2025/knee"})
    other = MultiPartitionKey({"folder": "scans/2025", "name": "knee"})
    succeeded = succeeded and run(images, one) and run(images, other)
    image = read("images", one)
    print("images,", one.keys_by_dimension, "reads:", image)
    materialized = [len(instance.get_materialized_partitions(AssetKey(key))) for key in ("patients", "images")]
    print("runs succeeded:", succeeded, "- partitions materialized:", materialized)
right = site == "a list for the north" and image == str(other.keys_by_dimension) and materialized == [1, 2]
sys.exit(not (succeeded and right))
END
DAGSTER_HOME="$folder/dagster" "$folder/venv/bin/python" "$folder/run.py" "$folder/values" 2>"$folder/log" ||
    { cat "$folder/log"; exit 1; }
