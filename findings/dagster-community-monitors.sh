#!/bin/sh
# sftp_monitor of Dagster's community components never reads allergies.csv after it has read visits.csv: it goes by the name first.
#
# The sensor (dagster-community-components 0.10.120) starts a run for each new file of a folder. It remembers "visits.csv-1767603600", name
# and time in one text, and takes a file for new if its own text is greater, letter by letter. So a file whose name comes
# earlier in the alphabet is never new, whenever it was uploaded; after zoe.csv nothing is. "No new files", says each tick. sql_monitor,
# "new or updated rows", gives the run for a row the row's number as its key; Dagster starts one run for a key, so no update of
# a row that had a run gets another. And of rows with one time, those behind batch_size, or stored after the tick, are passed over.
#
# Needs python3.11 and its venv. The SFTP server is in this script, on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dagster-community-components==0.10.120 dagster==1.13.27 paramiko==5.1.0 \
    asyncssh==2.24.1 sqlalchemy==2.1.9 2>"$folder/log"

cd "$folder"
DAGSTER_HOME="$folder" "$folder/venv/bin/python" - <<'END'
import asyncio, logging, os, sqlite3, sys, threading
from importlib.metadata import version
import asyncssh, dagster
from dagster_community_components import SQLMonitorSensorComponent, SftpMonitorSensorComponent

logging.disable(logging.CRITICAL)
os.mkdir("exports")
os.environ.update(SFTP_USER="clinic", SFTP_PASSWORD="clinic", DATABASE_URL=f"sqlite:///{os.getcwd()}/clinic.db")

class Server(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return password == "clinic"

async def serve():
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=Server, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.getcwd()))
    started.append(server.get_port())
    ready.set()
    await server.wait_closed()

started, ready = [], threading.Event()
threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
assert ready.wait(60)

def ticks(component):
    """Returns a function that evaluates the sensor as Dagster does, with its cursor of before: it gives the keys of the runs."""
    sensor = component.build_defs(None).sensors[0]
    cursor = [None]

    def tick(what):
        result = sensor(dagster.build_sensor_context(cursor=cursor[0]))
        cursor[0] = result.cursor or cursor[0]
        keys = [request.run_key for request in result.run_requests or []]
        print(f"{what}: runs {keys}" + (f" ({result.skip_reason.skip_message})" if result.skip_reason else ""))
        return keys
    return tick

def upload(name, second):
    with open(f"exports/{name}", "w") as file:
        file.write("export\n")
    os.utime(f"exports/{name}", (second, second))

print("dagster-community-components", version("dagster-community-components"))
tick = ticks(SftpMonitorSensorComponent(sensor_name="exports", host="127.0.0.1", port=started[0], username_env_var="SFTP_USER",
    password_env_var="SFTP_PASSWORD", remote_path="/exports", job_name="read"))
upload("visits.csv", 1767603600)
files = [tick("visits.csv")]
upload("allergies.csv", 1767607200)
files.append(tick("allergies.csv, an hour later"))
upload("patients.csv", 1767610800)
files.append(tick("patients.csv, two hours later"))
upload("visits.csv", 1767690000)
files.append(tick("visits.csv of the next day"))

clinic = sqlite3.connect("clinic.db", isolation_level=None)
clinic.execute("CREATE TABLE visits (id INTEGER PRIMARY KEY, dose TEXT, changed TEXT)")
clinic.execute("INSERT INTO visits VALUES (1, '5', '2026-01-05 09:00:00')")
tick = ticks(SQLMonitorSensorComponent(sensor_name="rows", connection_string_env_var="DATABASE_URL", table_name="visits",
    watermark_column="changed", id_column="id", batch_size=2, job_name="read"))
rows = [tick("first tick, which only notes the time")]
clinic.execute("UPDATE visits SET dose = '10', changed = '2026-01-05 10:00:00'")
rows.append(tick("visit 1 is changed"))
clinic.execute("UPDATE visits SET dose = '2.5', changed = '2026-01-05 11:00:00'")
rows.append(tick("visit 1 is changed again"))
clinic.executemany("INSERT INTO visits VALUES (?, '5', '2026-01-05 12:00:00')", [[2], [3], [4]])
rows.append(tick("visits 2, 3 and 4 of one second, two in a batch"))
rows.append(tick("next tick"))
sys.exit(not (
    files == [["visits.csv-1767603600"], [], [], ["visits.csv-1767690000"]]
    and rows == [[], ["visits-id-1"], ["visits-id-1"], ["visits-id-2", "visits-id-3"], []]
))
END
