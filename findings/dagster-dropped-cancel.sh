#!/bin/sh
# A run of Dagster that is cancelled goes on and ends as SUCCESS, if the cancel comes while a callback of a weak reference runs.
#
# This holds for in_process_executor, which has no process above the step that notices the signal too.
# Dagster cancels a step by a signal whose handler raises an exception in the step. Python calls the handler wherever the
# step is. In the callback of a weak reference, and in a __del__, nothing can be raised: Python prints "Exception ignored in"
# and the step goes on. Dagster sends the signal once. So the page says "canceling" until the run has done all its work, and
# then SUCCESS: whoever cancelled a wrong import believes that it was stopped. Libraries have such callbacks without the step
# knowing of it: this was first seen in one of SQLAlchemy's, in one of three cancelled runs of a job.
#
# Needs python3.11 and its venv; starts no server; takes about a minute.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check dagster==1.13.27 2>log
mkdir home
touch home/dagster.yaml
cat >work.py <<'END'
import os, time, weakref
from pathlib import Path
import dagster as dg

class Connection:
    pass

def tidy_up(_reference):
    Path("cancel-now").touch()
    time.sleep(3)

@dg.op
def import_files():
    connection = Connection()
    reference = weakref.ref(connection, tidy_up)
    if os.environ["WHERE"] == "in the callback":
        del connection
    else:
        tidy_up(reference)
    Path("imported").touch()

@dg.job(executor_def=dg.in_process_executor)
def work():
    import_files()
END
cat >drive.py <<'END'
import os, signal, subprocess, sys, time
from importlib.metadata import version
from pathlib import Path
import dagster as dg

print(f"dagster {version('dagster')}, Python {sys.version.split()[0]}")
os.environ["DAGSTER_HOME"] = str(Path("home").resolve())
now, done = Path("cancel-now"), Path("imported")
seen = {}
for where in ("in the step itself", "in the callback"):
    now.unlink(missing_ok=True)
    done.unlink(missing_ok=True)
    with Path("log").open("a") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "dagster", "job", "execute", "-f", "work.py", "-j", "work"],
            stdout=log, stderr=log, env=os.environ | {"WHERE": where},
        )
        until = time.monotonic() + 120
        while not now.exists() and run.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        run.wait(120)
    with dg.DagsterInstance.get() as instance:
        status = instance.get_runs(limit=1)[0].status.value
    seen[where] = (status, done.exists())
    print(f"cancelled {where}: the run is {status}; the files are {'' if done.exists() else 'not '}imported")
dropped = "Exception ignored in" in Path("log").read_text()
print(f"the log has 'Exception ignored in': {dropped}")
stopped = seen["in the step itself"][0] in ("CANCELED", "FAILURE") and not seen["in the step itself"][1]
sys.exit(0 if dropped and stopped and seen["in the callback"] == ("SUCCESS", True) else 1)
END
if venv/bin/python drive.py; then echo "As described."; else echo "It behaves otherwise now; the log:"; tail -20 log; exit 1; fi
