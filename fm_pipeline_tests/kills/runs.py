"""A reimport in a process of its own: the command, or the Dagster job, without any code for tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg2.extensions
import yaml
from pydantic import SecretStr

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sandbox.stack.waiting import wait_until
from fm_pipeline.settings import Settings
from fm_pipeline_tests.kills.clinic import NAME, Broken, KillClinic

Way = Literal["command", "dagster"]
# A run that lost its server at COMMIT waits two minutes for the state of its transaction.
RUN_LIMIT_SECONDS = 180
WAYS: tuple[Way, ...] = ("command", "dagster")


@dataclass
class Run:
    """A started reimport.

    Attributes:
        process: leader of a process group of its own.
        output: what it prints.
    """

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self.running:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(RUN_LIMIT_SECONDS)

    def pause(self) -> None:
        """Pause it with SIGSTOP."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Resume it after `pause`."""
        if self.running:
            os.killpg(self.process.pid, signal.SIGCONT)

    def end(self) -> str:
        """Wait until it ends by itself; return what it has printed."""
        try:
            self.process.wait(RUN_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise Broken("the run hangs") from None
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, what: str, condition: object, every_seconds: float = 0.01) -> None:
        """Wait until a condition holds while the run still runs.

        Raises:
            Broken: the run ended before.
        """
        assert callable(condition)
        ended = False

        def settled() -> bool:
            nonlocal ended
            holds = bool(condition())
            ended = not holds and not self.running
            return holds or ended

        if not wait_until(settled, RUN_LIMIT_SECONDS, every_seconds=every_seconds) or ended:
            raise Broken(f"the run never came to: {what}\n{self.output.read_text(errors='replace')[-2000:]}")


@contextmanager
def running(clinic: KillClinic, way: Way, *, port: int | None = None) -> Iterator[Run]:
    """Start a reimport by the plan; it is killed at the end of the block.

    Args:
        port: of PostgreSQL, if the run must use another one.
    """
    folder = clinic.folder / "run"
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    output = folder / "output.txt"
    command = _command(clinic) if way == "command" else _job(clinic, folder)
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603  # our own command
            command,
            cwd=folder,
            env=_environment(clinic, port, temporary),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    run = Run(process, output)
    try:
        yield run
    finally:
        run.kill()


def check_temporary_files(clinic: KillClinic) -> None:
    """Check that a killed run leaves nothing in TMPDIR."""
    left = [path.name for path in (clinic.folder / "run" / "tmp").iterdir()]
    if left:
        raise Broken(f"left in TMPDIR: {', '.join(left)}")


def measure(clinic: KillClinic, way: Way) -> float:
    """Measure the seconds of an undisturbed run, from its first session in the database to its end."""
    clinic.reset()
    with running(clinic, way) as run:
        run.wait_until("a session in the database", clinic.sessions)
        started = time.monotonic()
        printed = run.end()
    if run.process.returncode != 0:
        raise Broken(f"an undisturbed run failed:\n{printed[-2000:]}")
    return time.monotonic() - started


def _command(clinic: KillClinic) -> list[str]:
    permission = clinic.permission
    words = ["--plan", permission.plan_id, "--confirm", permission.confirm, "--requested-by", permission.actor]
    return [sys.executable, "-m", "fm_pipeline", "reimport", *words]


def _job(clinic: KillClinic, folder: Path) -> list[str]:
    home = folder / "dagster"
    home.mkdir(exist_ok=True)
    shutil.copyfile(PACKAGE_PARENT / "dagster.yaml", home / "dagster.yaml")
    permission = clinic.permission
    config = {"plan_id": permission.plan_id, "confirm": permission.confirm, "requested_by": permission.actor}
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump({"ops": {"reimport_transaction": {"config": config}}}), encoding="utf-8")
    job = ["job", "execute", "-m", "fm_pipeline.definitions", "-j", "full_reimport", "-c", str(file)]
    return [sys.executable, "-m", "dagster", *job]


def environment_of(settings: Settings) -> dict[str, str]:
    """Return settings as environment variables, passwords included."""
    values = {name: value for name, value in settings.model_dump().items() if value is not None}
    return {n.upper(): v.get_secret_value() if isinstance(v, SecretStr) else str(v) for n, v in values.items()}


def _environment(clinic: KillClinic, port: int | None, temporary: Path) -> dict[str, str]:
    url = clinic.postgresql.url(NAME)
    if port:
        own = psycopg2.extensions.parse_dsn(url)["port"]
        url = url.replace(f":{own}/", f":{port}/")
    ours = {
        "NEXUS_DATABASE_URL": url,
        "PYTHONPATH": str(PACKAGE_PARENT),
        "DAGSTER_HOME": str(clinic.folder / "run" / "dagster"),
        "TMPDIR": str(temporary),
    }
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | environment_of(clinic.bench.settings) | ours
