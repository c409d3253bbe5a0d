#!/bin/sh
# A run of Dagster's celery_executor that is cancelled ends as SUCCESS with one Celery worker, and as CANCELED with two.
#
# celery_executor revokes the tasks of the steps, and no worker interrupts a step for that: its code goes on to its end either
# way. What the run is called is chance. The worker that has the task does not say that it is revoked. Any other worker takes
# it for not begun, since dagster-celery does not record the start, and writes REVOKED: the run is CANCELED within a few
# seconds, and the step writes for as long as it likes after that. With one worker nobody does: the run stays CANCELING until
# the step is over, and SUCCESS if that was its last one. So a second worker changes what the same click means, and neither
# answer is true: somebody who corrects the input and starts again after CANCELED has two imports at work.
#
# Needs root, Debian 12 on amd64, python3.11 and its venv; servers on 127.0.0.1; takes about four minutes.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
cd "$folder"
apt-get -qq -o APT::Sandbox::User= download \
    redis-server=5:7.0.15-1~deb12u10 redis-tools=5:7.0.15-1~deb12u10 liblzf1=3.6-3 libjemalloc2=5.3.0-1
for package in *.deb; do dpkg -x "$package" unpacked; done
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check dagster==1.13.27 dagster-celery==0.29.27 celery==5.7.0 redis==8.1.0 2>log
cat >work.py <<'END'
import os, time
from pathlib import Path
import dagster as dg
from dagster_celery import celery_executor
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_task

servers = {"broker": os.environ["REDIS"] + "/0", "backend": os.environ["REDIS"] + "/1"}
app = make_app(servers | {"config_source": {}})
create_task(app)

@dg.op
def import_files():
    for at in range(20):
        Path(os.environ["IMPORTED"], str(at)).touch()
        time.sleep(1)

@dg.job(executor_def=celery_executor.configured(servers))
def work():
    import_files()
END
cat >drive.py <<'END'
import os, signal, socket, subprocess, sys, time
from importlib.metadata import version
from pathlib import Path
import dagster as dg

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
libraries = {"LD_LIBRARY_PATH": ":".join(str(path) for path in Path("unpacked").resolve().rglob("*-linux-gnu"))}
log = Path("log").open("a")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it, and the servers too
os.environ["REDIS"] = f"redis://127.0.0.1:{port}"

def start(*words, **more):
    return subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | more)

def wait_until(seen):
    for _ in range(600):
        if seen():
            return
        time.sleep(0.2)
    raise SystemExit("not as described: waited for two minutes")

def cancel_with(workers):
    """Cancel a run in mid-step; return its last status, the files at that time, and those when the step was over."""
    home = Path(f"home{workers}").resolve()
    imported = home / "imported"
    imported.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    os.environ |= {"DAGSTER_HOME": str(home), "IMPORTED": str(imported)}
    with dg.DagsterInstance.get() as instance:
        processes = [start("dagster-daemon", "run", "-f", "work.py")]
        for at in range(workers):
            words = ["celery", "-A", "work", "worker", "--queues", "dagster", "--concurrency", "1", "-n", f"{workers}-{at}"]
            processes.append(start(*words))
        try:
            time.sleep(10)  # until all workers listen
            subprocess.run(["dagster", "job", "launch", "-f", "work.py", "-j", "work"], check=True, stdout=log, stderr=log)
            wait_until(lambda: any(imported.iterdir()))
            run = instance.get_run_records()[0].dagster_run.run_id
            cancelled = instance.run_coordinator.cancel_run(run)  # what the web server's Terminate calls
            print(f"workers: {workers}, cancel_run: {cancelled}", end="", flush=True)
            wait_until(lambda: instance.get_run_by_id(run).is_finished)
            status, files = instance.get_run_by_id(run).status.value, len(list(imported.iterdir()))
            print(f", the run is {status} at {files} of 20 files", end="", flush=True)
            wait_until(lambda: len(list(imported.iterdir())) == 20)
            time.sleep(5)
            steps = [entry.dagster_event.event_type_value for entry in instance.all_logs(run) if entry.dagster_event]
            print("; at 20 of 20 there is", *(step for step in steps if step == "STEP_SUCCESS"))
            return status, files < 20, "STEP_SUCCESS" in steps
        finally:
            for process in processes:
                process.send_signal(signal.SIGINT)
                process.wait()

print(*(f"{name} {version(name)}" for name in ("dagster", "dagster-celery", "celery")), flush=True)
redis = start("unpacked/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", **libraries)
try:
    one, two = cancel_with(1), cancel_with(2)
finally:
    redis.terminate()
    redis.wait()
sys.exit((one, two) != (("SUCCESS", False, True), ("CANCELED", True, True)))
END
PATH="$folder/venv/bin:$PATH" PYTHONPATH="$folder" python drive.py || { tail -n 5 log; exit 1; }
