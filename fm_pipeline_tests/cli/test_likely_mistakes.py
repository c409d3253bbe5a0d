"""The likely mistakes with each system, on the real servers; `likely_mistakes.yaml` is the list of them.

Every message says what happened, what it means and what to do next, names the setting, and repeats no secret.
"""

from __future__ import annotations

import fcntl
import gc
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg2
import pytest
import yaml
from click.testing import CliRunner, Result

from fm_pipeline.cli.main import main
from fm_pipeline.dicom.ftp import retrying_session
from fm_pipeline.filemaker import transport
from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.sandbox.stack.ownership import OWNER_FILE
from fm_pipeline.settings import Settings
from fm_pipeline_tests.images.scene import Scene
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import RUN_TIME, Origin, copied_bench
from fm_pipeline_tests.support.ftp.server import PASSWORD, USER, ftp_server
from fm_pipeline_tests.support.mail import Recorder, mail_server
from fm_pipeline_tests.support.services import LazyStack
from fm_pipeline_tests.support.waiting import InThread, wait_until

MISTAKES = yaml.safe_load(Path(__file__).with_name("likely_mistakes.yaml").read_text("utf-8"))
SECRETS = ("FILEMAKER_PASSWORD", "AWS_SECRET_ACCESS_KEY", "ORTHANC_PASSWORD", "FTP_PASSWORD")
CTRL_C_WANTED = threading.Event()  # when somebody connects to the silent server
TYPED_WRONG = "typed-wrong"  # in place of each password


class Servers(NamedTuple):
    """The settings for all of them, and the parts of their addresses."""

    environment: dict[str, str]
    parts: dict[str, str]
    ftp: str

    @property
    def database_url(self) -> str:
        """URL of the Nexus database."""
        return self.environment["NEXUS_DATABASE_URL"]

    @property
    def backups(self) -> Path:
        """The folder of the backups."""
        return Path(self.parts["backups"])

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as another user, and commit."""
        with closing(psycopg2.connect(self.database_url)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            rows = cursor.fetchall()
            connection.commit()
            return rows

    def run_row(self, row: Mapping[str, Any]) -> Result:
        """Run the command of a row; for those with the FTP server after its options."""
        if "dicom ftp" in row["command"]:
            assert self.run(f"dicom configure {self.ftp} {row.get('ftp', '')}", {}).exit_code == 0
        return self.run(row["command"], row.get("settings", {}))

    def run(self, words: str, settings: Mapping[str, str | None]) -> Result:
        """Run a command with some settings of its own; it repeats no secret."""
        environment: dict[str, str | None] = {name.upper(): None for name in Settings.model_fields}
        mistaken = {name: value and value.format(**self.parts) for name, value in settings.items()}
        given = environment | {"COLUMNS": "400"} | self.environment | mistaken
        done = CliRunner().invoke(main, words.format(**self.parts).split(), env=given)
        role = self.parts["role"].partition(":")[2]
        for secret in (TYPED_WRONG, role, *(self.environment[name] for name in SECRETS if name in self.environment)):
            assert secret not in done.output
        return done


@pytest.fixture(scope="module")
def servers(stack: LazyStack, migrated_clinic: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A clinic in Nexus and FileMaker, a bucket, an FTP server, and a mail server that knows no encryption."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "hospital").mkdir()
    (folder / "ftp").mkdir()
    with ExitStack() as running:
        bench = running.enter_context(copied_bench(stack.postgresql, migrated_clinic, folder))
        ftp = running.enter_context(ftp_server(folder / "ftp"))
        mail = running.enter_context(mail_server(Recorder()))
        bucket = BucketBench(stack.s3)
        environment = bench.environment() | bucket.environment()
        environment |= {"HOSPITAL_DATA_PATH": f"{folder}/hospital", "FTP_PASSWORD": PASSWORD}
        environment |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mail), "SMTP_SECURITY": "none"}
        environment |= {"SMTP_FROM": "pipeline@clinic.example", "SMTP_TO": "administrator@clinic.example"}
        environment |= {"ORTHANC_URL": "http://127.0.0.1:1"}  # the mistakes with it that the check tells have another
        nexus = urlsplit(bench.database_url)
        parts = {
            "role": f"{nexus.username}:{nexus.password}",
            "user": str(nexus.username),
            "place": nexus.netloc.partition("@")[2],
            "database": nexus.path[1:],
            "folder": str(folder),
            "other": str(urlsplit(bench.stand_in.base_url).port),  # where another server listens
            "s3": environment["S3_ENDPOINT_URL"],
            "s3_with_tls": environment["S3_ENDPOINT_URL"].replace("http:", "https:"),
            "mail": str(mail),
            "silent": str(running.enter_context(silent_server())),
            "used": str(running.enter_context(used_folder(folder / "used"))),
            "file": str(folder / "a-file"),
            "home": str(folder / "home"),
        }
        (folder / "a-file").touch()
        make_backup(bench.settings, now=RUN_TIME)
        scene = Scene(bench, bucket, folder)
        scene.add(1)
        parts |= {"export": str(scene.export_file), "backups": str(bench.settings.state_dir / "backups")}
        (folder / "mistyped.env").write_text(f"SMTP_PASS={TYPED_WRONG}\n")
        parts |= {"mistyped": str(folder / "mistyped.env")}
        parts["backup"] = str(next(Path(parts["backups"]).iterdir()))
        (folder / "home").mkdir()
        (folder / "home" / "dagster.yaml").touch()
        ftp_options = f"--ftp-host 127.0.0.1 --ftp-port {ftp.port} --ftp-username {USER} --ftp-security none"
        yield Servers(environment, parts, f"--ftp-enabled {ftp_options} --ftp-path /")


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen; whoever connects gets no answer, and this process a Ctrl-C. Gives the port."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with suppress(OSError):  # the end
                while True:
                    connections.append(listening.accept())
                    if CTRL_C_WANTED.is_set():  # once: who connects again must not end the tests
                        CTRL_C_WANTED.clear()
                        signal.pthread_kill(main_thread, signal.SIGINT)

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    for connection, _ in connections:
        connection.close()


@contextmanager
def used_folder(folder: Path) -> Iterator[Path]:
    """Give a folder that another process seems to use: the lock is that of another open file."""
    folder.mkdir()
    with (folder / OWNER_FILE).open("w") as owner:
        owner.write("4711\n")
        owner.flush()
        fcntl.flock(owner, fcntl.LOCK_EX)
        yield folder


@pytest.mark.parametrize("row", MISTAKES["told_by_the_command"], ids=lambda row: row["mistake"])
def test_a_mistake_is_told_with_what_it_means_and_what_to_do(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, row: dict[str, Any]
) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(retrying_session, "PAUSE_SECONDS", 0.0)
    done = servers.run_row(row)
    assert done.exit_code == 1, done.output
    told = [line for line in done.stderr.splitlines() if "Pulling" not in line]
    assert len(told) == len(row["says"]) == 3, done.stderr
    for line, says in zip(told, row["says"], strict=True):
        assert line.startswith(says.format(**servers.parts))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("row", MISTAKES["told_at_ctrl_c"], ids=lambda row: row["waits_for"])
def test_ctrl_c_while_a_server_is_silent_ends_with_130_and_what_is_true(servers: Servers, row: dict[str, Any]) -> None:
    CTRL_C_WANTED.set()
    try:
        done = servers.run_row(row)
    finally:
        CTRL_C_WANTED.clear()
    code, printed = done.exit_code, done.stdout if "--json" in row["command"] else done.output
    del done  # which holds the frames with the connections; a process would end here
    gc.collect()
    assert code == 130, printed
    assert [says for says in row["says"] if says not in printed] == []
    if "--json" in row["command"]:
        assert not json.loads(printed)["success"]


def run_before_a_lock(servers: Servers, command: str, what: Callable[[], object]) -> Result:
    """Run a command that has to wait for a lock of Nexus, and do something meanwhile; then the lock is released."""

    def act() -> None:
        wait_until(lambda: bool(servers.execute("SELECT FROM pg_locks WHERE NOT granted")))
        what()
        servers.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'")

    with closing(psycopg2.connect(servers.database_url, application_name="holder")) as holder, holder.cursor() as held:
        held.execute("LOCK TABLE patients")
        acting = InThread(act)
        done = servers.run(command, {})
        acting.outcome()
    return done


@pytest.mark.parametrize("row", MISTAKES["told_at_ctrl_c_before_a_lock"], ids=lambda row: row["command"])
def test_ctrl_c_while_nexus_is_locked_ends_with_130_and_leaves_nothing(servers: Servers, row: dict[str, Any]) -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    before = set(servers.backups.iterdir())
    done = run_before_a_lock(servers, row["command"], lambda: signal.pthread_kill(main_thread, signal.SIGINT))
    assert (done.exit_code, done.stderr.strip()) == (130, row["says"])
    assert set(servers.backups.iterdir()) == before


def test_a_backup_whose_folder_goes_away_meanwhile_says_so(servers: Servers) -> None:
    away = servers.backups.with_name("away")
    done = run_before_a_lock(servers, "backup", lambda: servers.backups.rename(away))
    away.rename(servers.backups)
    assert done.exit_code == 1
    assert done.stderr.startswith("The backup could not be written: No such file or directory")
    assert "\nNothing was changed in Nexus.\nCheck that the folder of the backups exists" in done.stderr


def test_a_command_in_a_folder_that_is_gone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = CliRunner().invoke(main, ["demo"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0] == "The current folder is gone: it was removed or renamed."


@pytest.mark.parametrize("words", ["status", "plan", "check", "files check", "patient 1", "dicom jobs"])
def test_with_json_a_mistake_is_json_too(words: str) -> None:
    done = CliRunner().invoke(
        main, [*words.split(), "--json"], env={name.upper(): None for name in Settings.model_fields}
    )
    assert (done.exit_code, done.stderr) == (1, "")
    answer = json.loads(done.stdout)
    assert not answer["success"]
    assert answer["error"]["message"] == "The settings cannot be used: NEXUS_DATABASE_URL: is missing."
    assert answer["error"]["remedy"].startswith("Set it in the environment or in .env (")


@pytest.mark.parametrize("row", MISTAKES["told_by_the_check"], ids=lambda row: row["mistakes"])
def test_a_mistake_with_a_service_is_a_finding_of_the_check_with_what_to_do(
    servers: Servers, stack: LazyStack, row: dict[str, Any]
) -> None:
    """A mistake with each service at once, because a check looks at all of them."""
    orthanc = stack.orthanc.settings()
    servers = Servers(
        servers.environment | orthanc | {"FILEMAKER_URL": ""},
        servers.parts | {"orthanc": orthanc["ORTHANC_URL"]},
        servers.ftp,
    )
    findings = json.loads(servers.run("check --json", row["settings"]).stdout)
    found = {finding["subject"]: (finding["found"], finding["remedy"]) for finding in findings if finding["rule"]}
    for subject, says in row["finds"].items():
        for said, beginning in zip(found[subject], says, strict=True):
            assert said.startswith(beginning)


TYPED = {
    "reimprot": "Did you mean 'reimport'?",
    "dicom improt": "Did you mean 'import'?",
    "status --jsno": "Did you mean '--json'?",
    "reimport patients": "Missing option '--plan'. The last line of fm-pipeline plan is the whole command.",
    "reimport --plan 1": "Missing option '--confirm'. The last line of fm-pipeline plan is the whole command.",
    "plan patients": "Got unexpected extra argument (patients)",
    "restore": "fm-pipeline backup --list shows the backups.",
    "demo --scale many": "'many' is not a valid float",
    "demo --port 99999": "99999 is not in the range 1<=x<=65535.",
    "demo --report none/report.json": "The folder of --report does not exist: none",
    "stack up --s3-port s3": "'s3' is not a valid integer",
}


@pytest.mark.parametrize("words", TYPED)
def test_a_mistake_in_typing_exits_with_2_and_says_where_the_help_is(words: str) -> None:
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 2
    assert TYPED[words] in done.stderr
    assert "--help' for help." in done.stderr
