"""The stack as its users see it: up, down, again, side by side, and after a kill."""

from __future__ import annotations

import json
import signal
import smtplib
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import boto3
import psutil
import psycopg2
import pytest
from botocore.exceptions import ClientError

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack import processes
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.sandbox.stack.stack import Stack
from fm_pipeline_tests.sandbox.stack.processes import processes_of
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL
from fm_pipeline_tests.support.waiting import wait_until

QUICK = (SmtpService,)
ALL_BUT_FILEMAKER = (DisposablePostgreSQL, S3Service, SmtpService)


def start_in_another_process(folder: Path, services: Sequence[str], *, context: bool) -> subprocess.Popen[str]:
    """Start a stack in a process of its own, which says `up` and then waits."""
    kinds = ", ".join(services)
    script = f"""
from pathlib import Path
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.sandbox.stack.stack import Stack
from fm_pipeline.sandbox.stack.state import SECRETS_FILE, Secrets
from fm_pipeline_tests.support.answering import answering
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL
stack = Stack(Path({str(folder)!r}), [{kinds}])
{"stack.__enter__()" if context else "stack.up()"}
print("up", flush=True)
input()
"""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", script],
        cwd=PACKAGE_PARENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def wait_for_up(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"


def run_sql(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_a_restart_keeps_the_data_the_ports_and_the_passwords(folder: Path) -> None:
    with Stack(folder, ALL_BUT_FILEMAKER) as stack:
        before = stack.environment()
        run_sql(before["NEXUS_DATABASE_URL"], "create table kept as select 42 as answer")
        client(before).put_object(Bucket=before["S3_BUCKET"], Key="a/b c.txt", Body=b"kept")
    assert processes_of(folder) == []
    with Stack(folder, ALL_BUT_FILEMAKER) as stack:
        assert stack.environment() == before
        assert run_sql(before["NEXUS_DATABASE_URL"], "select answer from kept") == [(42,)]
        stored = client(before).get_object(Bucket=before["S3_BUCKET"], Key="a/b c.txt")
        assert stored["Body"].read() == b"kept"
    assert processes_of(folder) == []


def client(environment: dict[str, str], secret: str | None = None):  # type: ignore[no-untyped-def]
    return boto3.client(
        "s3",
        endpoint_url=environment["S3_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )


def test_a_wrong_password_opens_neither_the_database_nor_the_bucket(folder: Path) -> None:
    with Stack(folder, (DisposablePostgreSQL, S3Service)) as stack:
        environment = stack.environment()
        password = stack.secrets.get("postgresql_password")
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(environment["NEXUS_DATABASE_URL"].replace(password, "wrong"))
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|403"):
            client(environment, "wrong").list_buckets()


def test_every_server_listens_on_this_machine_only(folder: Path) -> None:
    with Stack(folder, ALL_BUT_FILEMAKER) as stack:
        for row in stack.status():
            assert row.pid is not None
            listening = [
                connection.laddr
                for connection in psutil.Process(row.pid).net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
            assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", row.port)]


def test_nobody_else_can_read_the_state_folder_and_no_command_line_shows_a_password(folder: Path) -> None:
    with Stack(folder, ALL_BUT_FILEMAKER) as stack:
        for path in [folder, *folder.rglob("*")]:
            mode = stat.S_IMODE(path.lstat().st_mode)
            passing = 0o710 if path == folder else 0o700
            assert mode & ~passing == 0, f"{path} {mode:o}"
        shown = " ".join(word for process in processes_of(folder) for word in process.cmdline())
        for secret in json.loads(stack.secrets.path.read_text()).values():
            assert secret not in shown
            assert secret not in (folder / "stack.json").read_text()


def test_an_open_folder_with_other_files_in_it_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "report.txt").write_text("somebody's")
    with pytest.raises(PipelineError, match="open to other users"):
        Stack(tmp_path, QUICK).up()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_up_twice_is_one_stack(folder: Path) -> None:
    Stack(folder, QUICK).up()
    first = Stack(folder, QUICK).status()
    Stack(folder, QUICK).up()
    assert Stack(folder, QUICK).status() == first
    assert len(processes_of(folder)) == 1


def test_two_ups_at_the_same_time_are_one_stack(folder: Path) -> None:
    starters = [start_in_another_process(folder, ["SmtpService"], context=False) for _ in range(2)]
    for starter in starters:
        wait_for_up(starter)
    servers = [process for process in processes_of(folder) if "smtp_catcher" in " ".join(process.cmdline()[:3])]
    assert len(servers) == 1
    for starter in starters:
        kill(starter)


def test_two_stacks_live_side_by_side(folder: Path) -> None:
    other = folder.with_name("other")
    with Stack(folder, QUICK) as one:
        with Stack(other, QUICK) as two:
            assert one.environment()["SMTP_PORT"] != two.environment()["SMTP_PORT"]
        assert processes_of(other) == []
        assert [row.alive for row in one.status()] == [True]


def test_a_running_stack_is_not_moved_to_another_port(folder: Path) -> None:
    Stack(folder, QUICK).up()
    with pytest.raises(PipelineError, match="already runs on port"):
        Stack(folder, QUICK).up({"mail": 1})
    assert Stack(folder, QUICK).status()[0].alive


def test_a_service_that_cannot_start_names_its_log_and_stops_the_others(folder: Path) -> None:
    class Broken(S3Service):
        name = "broken"

        def command(self) -> Sequence[str]:
            return [sys.executable, "-c", f"raise SystemExit({str(self.folder)!r})"]

    with pytest.raises(PipelineError, match=r"broken\.log"):
        Stack(folder, (SmtpService, Broken)).up()
    assert processes_of(folder) == []


def test_a_service_that_starts_last_is_started_when_the_others_answer(folder: Path) -> None:
    answered = []

    class Late(SmtpService):
        name = "late"
        starts_last = True

        def prepare(self) -> None:
            answered.append(Stack(folder).answers(SmtpService))
            super().prepare()

    Stack(folder, (Late, SmtpService)).up()
    assert answered == [True]


def test_nothing_is_left_when_the_process_that_holds_the_stack_is_killed(folder: Path) -> None:
    holder = start_in_another_process(folder, ["DisposablePostgreSQL", "S3Service", "SmtpService"], context=True)
    wait_for_up(holder)
    assert len(processes_of(folder)) >= 4
    kill(holder)
    wait_until(lambda: processes_of(folder) == [])


def test_a_stack_in_the_background_outlives_its_starter_and_down_ends_it(folder: Path) -> None:
    starter = start_in_another_process(folder, ["DisposablePostgreSQL", "SmtpService"], context=False)
    wait_for_up(starter)
    kill(starter)
    assert [row.alive for row in Stack(folder, ()).status()] == [True, True]
    Stack(folder).down()
    assert processes_of(folder) == []
    Stack(folder).down()


def test_down_names_the_programs_of_a_folder_that_was_removed(folder: Path) -> None:
    Stack(folder, QUICK).up()
    (server,) = processes_of(folder)
    away = folder.rename(folder.with_name("away"))
    with pytest.raises(PipelineError, match=rf"1 program of {folder} still run.* kill {server.pid}$"):
        Stack(folder).down()
    away.rename(folder)
    Stack(folder).down()
    assert Stack(folder).down() == []


def test_up_recovers_when_every_server_was_killed(folder: Path) -> None:
    kinds = (DisposablePostgreSQL, SmtpService)
    stack = Stack(folder, kinds)
    stack.up()
    before = stack.environment()
    run_sql(before["NEXUS_DATABASE_URL"], "create table kept as select 42 as answer")
    for process in processes_of(folder):
        process.kill()
    wait_until(lambda: processes_of(folder) == [])
    assert [row.alive for row in stack.status()] == [False, False]
    Stack(folder, kinds).up()
    assert run_sql(before["NEXUS_DATABASE_URL"], "select answer from kept") == [(42,)]


def test_the_database_starts_when_its_old_pid_now_belongs_to_another_program(folder: Path) -> None:
    stack = Stack(folder, (DisposablePostgreSQL,))
    stack.up()
    server = stack.service(DisposablePostgreSQL)
    for process in processes_of(folder):
        process.kill()
    wait_until(lambda: processes_of(folder) == [])
    account = server.account()
    with subprocess.Popen(  # under the same user, or PostgreSQL would not take it for a server
        ["/bin/cat"], stdin=subprocess.PIPE, user=account.uid if account else None
    ) as bystander:
        pid_file = server.data / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().split("\n")[0], str(bystander.pid), 1))
        stack.up()
        assert stack.status()[0].alive
        assert bystander.poll() is None
        bystander.communicate()


def test_a_start_that_was_killed_before_its_pid_was_written_is_still_found(folder: Path) -> None:
    stack = Stack(folder, QUICK)
    stack.up()
    content = json.loads((folder / "stack.json").read_text())
    content["mail"].update(pid=None, started=None)
    (folder / "stack.json").write_text(json.dumps(content))
    assert stack.status()[0].alive
    Stack(folder).down()
    assert processes_of(folder) == []


def test_a_pid_that_was_given_to_another_program_is_never_killed(folder: Path) -> None:
    Stack(folder, QUICK).up()
    Stack(folder, QUICK).down()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        content = json.loads((folder / "stack.json").read_text())
        content["mail"].update(pid=bystander.pid, started=psutil.Process(bystander.pid).create_time())
        (folder / "stack.json").write_text(json.dumps(content))
        assert not Stack(folder, QUICK).status()[0].alive
        Stack(folder).down()
        assert bystander.poll() is None
        bystander.communicate(b"\n")


def test_the_same_command_started_at_another_time_is_not_mistaken_by_its_pid(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        started = psutil.Process(bystander.pid).create_time()
        record = processes.ProcessRecord(port=1, command=["other", "words"], pid=bystander.pid, started=started)
        assert processes.find(record) is None
        assert processes.find(replace(record, started=started - 3600)) is None
        bystander.communicate(b"\n")


def test_an_interrupted_first_start_of_the_database_leaves_nothing_half_made(folder: Path) -> None:
    half = folder / "postgresql" / "new-half"
    half.mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    (half / "PG_VERSION").write_text("16")
    with Stack(folder, (DisposablePostgreSQL,)):
        assert [path.name for path in (folder / "postgresql").iterdir()] == ["data"]


def test_a_server_that_ignores_the_request_to_end_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_LIMIT_SECONDS", 0.2)

    class Deaf(SmtpService):
        serves = False

        def command(self) -> Sequence[str]:
            script = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
            return [sys.executable, "-c", script, str(self.folder)]

        def ready(self) -> bool:
            return self.log_says("ready")

    Stack(folder, (Deaf,)).up()
    Stack(folder, (Deaf,)).down()
    assert processes_of(folder) == []


def test_the_mail_catcher_keeps_a_mail_as_it_was_sent(folder: Path) -> None:
    with Stack(folder, QUICK) as stack:
        mail = stack.service(SmtpService)
        with smtplib.SMTP("127.0.0.1", mail.port) as connection:
            connection.sendmail("a@clinic.example", ["b@clinic.example"], "Subject: Über\r\n\r\nDone.".encode())
        (caught,) = mail.folder.glob("*.eml")
        assert caught.read_bytes().startswith("Subject: Über\r\n\r\nDone.".encode())


def test_control_c_ends_the_stack_with_the_program(folder: Path) -> None:
    holder = start_in_another_process(folder, ["SmtpService"], context=True)
    wait_for_up(holder)
    holder.send_signal(signal.SIGINT)
    holder.communicate()
    wait_until(lambda: processes_of(folder) == [])


# -- Whose port, whose folder
