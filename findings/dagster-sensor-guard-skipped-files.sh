#!/bin/sh
# dagster-sensor-guard turns a failed tick into a finished one, so Dagster keeps the cursor, and files never get a run.
#
# The package (0.5.0) "adds error tolerance" to a sensor of Dagster: the first three errors are a SkipReason. Dagster drops the cursor of a
# tick that fails and asks for the same files again; that is why a sensor may set it whenever it likes. A tick that the package has
# ended well keeps the cursor: if reading fails after update_cursor(), with the second of three files, the second and the third are
# never seen again, while the documentation says the cursor flows "natively, untouched".
# With per_key and "decay", one source that stays away stops the others: "RunRequests from healthy keys are yielded even when other
# keys fail", but then it raises an error, Dagster drops what was yielded, and the count is kept, so it raises it in each tick.
#
# Needs python3.10, 3.11 or 3.12 and its venv; starts no server. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dagster-sensor-guard==0.5.0 dagster==1.13.27 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

cd "$folder"
mkdir home
touch home/dagster.yaml
DAGSTER_HOME=$folder/home "$folder/venv/bin/python" - 2>dagster.log <<'END' || { status=$?; tail -n 5 dagster.log; exit "$status"; }
import sys
from importlib.metadata import version
import dagster as dg
from dagster_sensor_guard import resilient_sensor

FILES = ["1.csv", "2.csv", "3.csv"]
away = set()


def size(name):
    """Stands for a look at a file on a server that is away now and then."""
    if name in away:
        raise ConnectionError("the server does not answer")
    return 1


@dg.op
def carry():
    pass


@dg.job
def import_file():
    carry()


def look(context):
    new = [name for name in FILES if name > (context.cursor or "")]
    context.update_cursor(FILES[-1])
    for name in new:
        if size(name):
            yield dg.RunRequest(run_key=name)


def look_at_clinics(context, guard):
    for clinic in ("north", "south"):
        with guard.track(clinic):
            if size(clinic):
                yield dg.RunRequest(run_key=f"{clinic} {context.cursor}")


def ticks(sensor, instance, troubles):
    """Evaluates the sensor as often as there are troubles, as the daemon does, which keeps the cursor of a tick that does not fail.

    Returns the keys of the runs that the daemon gets from the ticks, and "failed" for a tick that fails.
    """
    cursor, seen = None, []
    for trouble in troubles:
        away.clear()
        away.update(trouble)
        try:
            data = sensor.evaluate_tick(dg.build_sensor_context(instance, cursor=cursor, sensor_name=sensor.name))
        except Exception:
            seen.append("failed")
            continue
        cursor = data.cursor
        seen.append([request.run_key for request in data.run_requests or []])
    return seen


print("dagster-sensor-guard", version("dagster-sensor-guard"), "with dagster", version("dagster"))
with dg.DagsterInstance.get() as instance:
    plain = ticks(dg.SensorDefinition(evaluation_fn=look, name="plain", job=import_file), instance, [{"2.csv"}, set()])
    print("without the package, 2.csv cannot be read in the first of two ticks:", plain)
    guarded = dg.sensor(job=import_file, name="guarded")(resilient_sensor()(look))
    kept = ticks(guarded, instance, [{"2.csv"}, set()])
    print("with it:", kept)
    by_clinic = resilient_sensor(threshold=1, per_key=True, reset_strategy="decay")(look_at_clinics)
    clinics = ticks(dg.sensor(job=import_file, name="clinics")(by_clinic), instance, [{"north"}] * 5)
    print("the clinic north is away in five ticks, south is not, two errors are too many:", clinics)
sys.exit(not (
    plain == ["failed", FILES] and kept == [["1.csv"], []] and clinics == [["south None"]] + ["failed"] * 4
))
END
