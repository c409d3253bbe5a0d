"""The scene of the canaries: both systems, a Dagster instance on the disk, and the output of all runs."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import psycopg2
from click.testing import CliRunner
from psycopg2 import sql

from fm_pipeline.cli.main import main
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.defs.assets.test_runs import Graph
from fm_pipeline_tests.kills.runs import environment_of
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.waiting import wait_until

PATIENCE_SECONDS = 60


@dataclass
class Scene:
    """A bench whose runs write everything below one folder.

    Attributes:
        folder: the folder that is searched in the end.
        instance: Dagster's, in `folder`.
        server: the PostgreSQL of the bench, for its log.
    """

    bench: MigrationBench
    folder: Path
    instance: dg.DagsterInstance
    server: PostgreSQLService
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _log_seen: int = 0

    def __post_init__(self) -> None:
        self.outputs.mkdir()
        self._log_seen = self.server.log.stat().st_size

    @property
    def outputs(self) -> Path:
        """The output of commands, and the server's log."""
        return self.folder / "outputs"

    def graph(self, **settings: Any) -> Graph:
        """Return the code location with these settings."""
        return Graph(self.bench.with_settings(**settings), self.instance)

    def failure(self, result: Any) -> str:
        """Return the messages of the failed steps and checks of a run."""
        words = []
        for event in result.all_events:
            if event.is_step_failure:
                words.append(str(event.step_failure_data.error))
            if event.event_type_value == "ASSET_CHECK_EVALUATION" and not event.asset_check_evaluation_data.passed:
                words.append(str(event.asset_check_evaluation_data.description))
        assert words, "nothing failed"
        return "\n".join(words)

    def command(self, *words: str, **settings: Any) -> tuple[int, str]:
        """Run a command and keep its output; return its exit code and output."""
        environment = environment_of(self.bench.with_settings(**settings).settings)
        result = CliRunner().invoke(main, words, env=environment)
        self.keep(" ".join(words[:1]), result.output + repr(result.exception or ""))
        return result.exit_code, result.output

    def keep(self, name: str, text: str) -> None:
        """Write a text into the folder that is searched."""
        (self.outputs / f"{next(self._numbers):02}-{name}.txt").write_text(text, encoding="utf-8")

    def set_database(self, **settings: str | None) -> None:
        """Set settings for new sessions in this database; None resets one."""
        with self.bench.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            ((name,),) = cursor.fetchall()
            for setting, value in settings.items():
                change = sql.SQL("ALTER DATABASE {} RESET {}") if value is None else sql.SQL("ALTER DATABASE {} SET {}")
                words = change.format(sql.Identifier(name), sql.Identifier(setting))
                cursor.execute(words if value is None else words + sql.SQL(" = {}").format(sql.Literal(value)))
            connection.commit()

    def new_log(self) -> str:
        """Return what the server has logged since the last call."""
        with self.server.log.open("rb") as file:
            file.seek(self._log_seen)
            content = file.read()
        self._log_seen += len(content)
        return content.decode("utf-8", errors="replace")

    def kill_a_reimport(self, plan_id: str, confirm: str) -> None:
        """Start a reimport and kill it while it reads from FileMaker."""
        stand_in = self.bench.stand_in
        stand_in.disturb("slow", seconds=10 * PATIENCE_SECONDS, after=3, of=["records"])
        stand_in.reset_counters()
        with (self.outputs / "killed.txt").open("wb") as output:
            run = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "fm_pipeline", "reimport", "--plan", plan_id, "--confirm", confirm],
                env={**os.environ, **environment_of(self.bench.settings), "PYTHONPATH": str(PACKAGE_PARENT)},
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                wait_until(lambda: stand_in.counters()["requests"].get("records", 0) > 3, PATIENCE_SECONDS)
            finally:
                run.kill()
                assert run.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        ours = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'fm_pipeline' AND datname = current_database()"
        wait_until(lambda: self.bench.execute(ours) == [], PATIENCE_SECONDS)
        stand_in.heal()


@contextmanager
def scene(bench: MigrationBench, folder: Path, server: PostgreSQLService) -> Iterator[Scene]:
    """Open a Dagster instance with the project's dagster.yaml."""
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copyfile(PACKAGE_PARENT / "dagster.yaml", home / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Scene(bench, folder, instance, server)


@contextmanager
def indiscreet_filemaker(status: int, content_type: str, body: str) -> Iterator[str]:
    """Run a server that answers every request with this; yield its URL."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def user_with_a_lock(bench: MigrationBench, statement: str, *values: object) -> Iterator[None]:
    """Run a statement as a user of Nexus, and do not commit inside the block."""
    with closing(psycopg2.connect(bench.database_url, application_name="Nexus web")) as user, user.cursor() as cursor:
        cursor.execute(statement, values)
        yield
