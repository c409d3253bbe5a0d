#!/bin/sh
# dagster-sensor-guard turns a failed tick into a finished one, so Dagster keeps the cursor, and files never get a run.
#
# The package (0.5.0) "adds error tolerance" to a sensor of Dagster: the first three errors are a SkipReason. Dagster drops the cursor of a
# tick that fails and asks for the same files again; that is why a sensor may set it whenever it likes. A tick that the package has
# ended well keeps the cursor: if reading fails after update_cursor(), with the second of three files, the second and the third are
# never seen again, while the documentation says the cursor flows "natively, untouched".
# With per_key and "decay", one source that stays away stops the others: "RunRequests from healthy keys are yielded even when other
# keys fail", but then it raises an error, Dagster drops what was yielded, and the count is kept, so it raises it in each tick.
# The ticks are those of Dagster's own daemon, which does not start the runs: no more than none may run at a time.
#
# Needs python3.10, 3.11 or 3.12 and its venv; takes about a minute. Exit code 0: as described; 1: it behaves otherwise now.
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
cat >home/dagster.yaml <<'END'
telemetry: {enabled: false}
concurrency: {runs: {max_concurrent_runs: 0}}
END
cat >sensors.py <<'END'
import dagster as dg
from dagster_sensor_guard import resilient_sensor

FILES = ["1.csv", "2.csv", "3.csv"]


def size(name, away):
    """Stands for a look at a file on a server that is away now and then."""
    if away:
        raise ConnectionError(f"the server with {name} does not answer")
    return 1


@dg.op
def carry():
    pass


@dg.job
def import_file():
    carry()


def count(context):
    """The number of this tick, from 1."""
    key = f"{context.sensor_name} ticks"
    storage = context.instance.run_storage
    number = int(storage.get_cursor_values({key}).get(key, 0)) + 1
    storage.set_cursor_values({key: str(number)})
    return number


def look(context):
    first = count(context) == 1
    new = [name for name in FILES if name > (context.cursor or "")]
    context.update_cursor(FILES[-1])
    for name in new:
        if size(name, away=first and name == "2.csv"):
            yield dg.RunRequest(run_key=f"{context.sensor_name} {name}")


def look_at_clinics(context, guard):
    number = count(context)
    for clinic in ("north", "south"):
        with guard.track(clinic):
            if size(clinic, away=clinic == "north"):
                yield dg.RunRequest(run_key=f"clinics {clinic} {number}")


def sensor(name, function):
    made = dg.sensor(
        job=import_file, name=name, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING,
    )
    return made(function)


defs = dg.Definitions(jobs=[import_file], sensors=[
    sensor("plain", look),
    sensor("guarded", resilient_sensor()(look)),
    sensor("clinics", resilient_sensor(threshold=1, per_key=True, reset_strategy="decay")(look_at_clinics)),
])
END
DAGSTER_HOME=$folder/home PYTHONPATH=$folder PATH=$folder/venv/bin:$PATH python - <<'END' || { status=$?; tail -n 5 daemon.log; exit "$status"; }
import signal, subprocess, sys, time
from importlib.metadata import version
import dagster as dg
from dagster._core.scheduler.instigation import TickStatus

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it, and the daemon too
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
TICKS = {"plain": 2, "guarded": 3, "clinics": 5}


def finished(instance):
    """The first ticks of each sensor, oldest first: "FAILURE", or the keys of the runs that the daemon took from it."""
    seen = {name: [] for name in TICKS}
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
        for tick in sorted(ticks, key=lambda tick: tick.timestamp):
            if tick.status != TickStatus.STARTED:
                keys = sorted(tick.run_keys or [])
                seen[state.instigator_name].append("FAILURE" if tick.status == TickStatus.FAILURE else keys)
    return {name: ticks[:TICKS[name]] for name, ticks in seen.items()}


print("dagster-sensor-guard", version("dagster-sensor-guard"), "with dagster", version("dagster"))
with open("daemon.log", "w") as log, dg.DagsterInstance.get() as instance:
    daemon = subprocess.Popen(["dagster-daemon", "run", "-f", "sensors.py"], stdout=log, stderr=log)
    try:
        limit = time.monotonic() + 100
        while any(len(ticks) < TICKS[name] for name, ticks in finished(instance).items()):
            if daemon.poll() is not None or time.monotonic() > limit:
                raise SystemExit(f"not as described: {finished(instance)}")
            time.sleep(1)
    finally:
        daemon.send_signal(signal.SIGINT)
        daemon.wait()
    seen = finished(instance)
    runs = sorted(run.tags["dagster/run_key"] for run in instance.get_runs())
print("without the package, 2.csv cannot be read in the first of two ticks:", seen["plain"])
print("with it, of three:", seen["guarded"])
print("the clinic north is away in five ticks, south is not, two errors are too many:", seen["clinics"])
print("runs:", runs)
sys.exit(
    seen != {
        "plain": ["FAILURE", ["plain 1.csv", "plain 2.csv", "plain 3.csv"]], "guarded": [["guarded 1.csv"], [], []],
        "clinics": [["clinics south 1"]] + ["FAILURE"] * 4,
    }
    or runs != ["clinics south 1", "guarded 1.csv", "plain 1.csv", "plain 2.csv", "plain 3.csv"]
)
END
