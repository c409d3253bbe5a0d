#!/bin/sh
# With CeleryRunLauncher's default result store Dagster calls each run failed while it works; a retry then runs it twice.
#
# Run monitoring asks Celery's result store how a run is. The default one (rpc://) never has an answer for the daemon: the run
# becomes FAILURE at the first look, its code goes on, and at its end SUCCESS is written over the FAILURE. What waits for
# failures has acted by then: with run_retries two runs do the same work side by side, and both end as SUCCESS. With Redis as
# the store all is well until Redis restarts without its data. What is there for that, max_resume_run_attempts, cannot help:
# the launcher claims to resume runs, but passes an argument that its own task does not take, and FAILURE follows as before.
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
import dagster as dg, time
@dg.op
def import_files():
    time.sleep(30)
@dg.job(executor_def=dg.in_process_executor)
def work():
    import_files()
END
cat >worker.py <<'END'
import dagster as dg
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task
app = dg.DagsterInstance.get().run_launcher.celery
create_execute_job_task(app)
create_resume_job_task(app)
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
redis = ["unpacked/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
log = Path("log").open("a")
order = ["STEP_START", "RUN_FAILURE", "STEP_SUCCESS", "RUN_SUCCESS"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it, and the servers too

def start(*words, **more):
    return subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | more)

def stop(*processes):
    for process in processes:
        process.send_signal(signal.SIGINT)
        process.wait()

def wait_until(seen):
    for _ in range(600):
        if seen():
            return
        time.sleep(0.2)
    raise SystemExit("not as described: waited for two minutes")

def events(instance):
    runs = [record.dagster_run.run_id for record in instance.get_run_records(ascending=True)]
    return [[entry.dagster_event for entry in instance.all_logs(run) if entry.dagster_event] for run in runs]

def short(run):
    names = (event.event_type_value.replace("PIPELINE", "RUN") for event in run)
    return " ".join(name for name in names if name in order)

def launch(home, store, settings, restart):
    os.environ["DAGSTER_HOME"] = home = os.path.abspath(home)
    os.mkdir(home)
    config = f"config: {{broker: 'redis://127.0.0.1:{port}/0'{store}}}"
    launcher = f"{{module: dagster_celery.launcher, class: CeleryRunLauncher, {config}}}"
    Path(home, "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\nrun_launcher: {launcher}\n{settings}\n")
    with dg.DagsterInstance.get() as instance:
        server = start(*redis, **libraries)
        worker = start("celery", "-A", "worker", "worker", "--queues", "dagster", "--concurrency", "2")
        daemon = start("dagster-daemon", "run", "-f", "work.py")
        try:
            subprocess.run(["dagster", "job", "launch", "-f", "work.py", "-j", "work"], check=True, stdout=log, stderr=log)
            wait_until(lambda: "STEP_START" in short(events(instance)[0]))
            if restart:
                time.sleep(10)
                print("  after 10 s:", short(events(instance)[0]), "- now Redis restarts", flush=True)
                stop(server)
                server = start(*redis, **libraries)
            wait_until(lambda: "STEP_SUCCESS" in short(events(instance)[0]))
            at_once = sum("STEP_START" in short(run) for run in events(instance))
            wait_until(lambda: all("RUN_SUCCESS" in short(run) for run in events(instance)))
            runs = events(instance)
            print(*(f"  run: {short(run)}" for run in runs), f"  at work at a time: {at_once}", sep="\n", flush=True)
            return runs, at_once
        finally:
            stop(daemon, worker, server)

print(*(f"{name} {version(name)}" for name in ("dagster", "dagster-celery", "celery")))
print("default result store, run_retries:", flush=True)
monitored = "run_monitoring: {enabled: true, poll_interval_seconds: 3, max_resume_run_attempts: %d}"
runs, at_once = launch("default", "", f"{monitored % 0}\nrun_retries: {{enabled: true, max_retries: 1}}", False)
print("Redis as the result store, max_resume_run_attempts:", flush=True)
again, _ = launch("redis", f", backend: 'redis://127.0.0.1:{port}/1'", monitored % 1, True)
print(" ", *(errors := [event.message.strip() for event in again[0] if "TypeError" in (event.message or "")]))
sys.exit([short(run) for run in runs + again] != [" ".join(order)] * 3 or at_once != 2 or not errors)
END
PATH="$folder/venv/bin:$PATH" PYTHONPATH="$folder" python drive.py || { tail -n 5 log; exit 1; }
