"""A clinic behind `fm-pipeline serve`, whose parts can be killed while a run waits in the middle of a statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import dagster as dg
import psutil
import psycopg2
import pytest
import requests

from fm_pipeline.console.service.part_states import PartState, read_part_states
from fm_pipeline.sandbox.clinic.nexus.system import ADMIN, SANDBOX_PASSWORD
from fm_pipeline.sandbox.demo.run import launch
from fm_pipeline.sandbox.stack.console import ConsoleService
from fm_pipeline.sandbox.stack.stack import Stack, temporary_stack
from fm_pipeline.sandbox.stack.waiting import wait_until
from fm_pipeline_tests.kills.clinic import GATES, NAME, Broken, Gate, KillClinic
from fm_pipeline_tests.kills.runs import environment_of

SUPERVISOR, EVERYTHING = "supervisor", "everything"
PARTS = ("code server", "site", "daemon")
VICTIMS = (*PARTS, SUPERVISOR, EVERYTHING)
LIMIT_SECONDS = 300.0
# Run monitoring looks often, and gives up a run that does not start.
QUICKER = {
    "poll_interval_seconds: 30": "poll_interval_seconds: 2\n  start_timeout_seconds: 240",
}
_TERMINATE = """
mutation($id: String!) { terminateRun(runId: $id) { __typename
  ... on TerminateRunFailure { message }
  ... on PythonError { message } } }
"""


class KilledConsole(ConsoleService):
    """A console that notices soon what has become of a run."""

    def instance(self) -> str:
        text = super().instance()
        for old, new in QUICKER.items():
            assert old in text
            text = text.replace(old, new)
        return text


class ServedClinic:
    """The clinic and its console.

    Args:
        clinic: with gates in its database, and a plan.
        stack: of the console.
    """

    def __init__(self, clinic: KillClinic, stack: Stack) -> None:
        self.clinic = clinic
        self._stack = stack

    @property
    def console(self) -> ConsoleService:
        """The console."""
        return self._stack.service(KilledConsole)

    def start(self) -> None:
        """Start the service, or start it again after it was killed, and wait until all is well."""
        self._stack.up()
        self.wait_until_well()

    def stop(self) -> None:
        """Stop the service."""
        self._stack.down()

    def wait_until_well(self) -> None:
        """Wait until the health page says ok."""

        def well() -> bool:
            try:
                return requests.get(f"{self.console.url}/health", timeout=30).status_code == 200
            except requests.RequestException:
                return False

        if not wait_until(well, LIMIT_SECONDS):
            raise Broken("the service does not become well")

    def parts(self) -> dict[str, PartState]:
        """Return the parts by name."""
        return {part.name: part for part in read_part_states(self.clinic.bench.settings.state_dir)}

    def reimport(self) -> str:
        """Launch the job full_reimport with the plan as an administrator does; return the run's id."""
        given = self.clinic.permission
        config = {"plan_id": given.plan_id, "confirm": given.confirm, "requested_by": given.actor}
        return launch(self.console, "full_reimport", {"ops": {"reimport_transaction": {"config": config}}})

    def cancel(self, run_id: str) -> str:
        """Press "Terminate"; return Dagster's complaint, or nothing."""
        session = self.console.log_in(ADMIN, SANDBOX_PASSWORD)
        question = {"query": _TERMINATE, "variables": {"id": run_id}}
        answer = session.post(f"{self.console.url}/dagster/graphql", json=question, timeout=60).json()
        result = answer["data"]["terminateRun"]
        return "" if result["__typename"] == "TerminateRunSuccess" else str(result)

    def end_of(self, run_id: str) -> dg.DagsterRunStatus:
        """Wait until a run has ended; return how."""
        with dg.DagsterInstance.from_config(str(self.console.home)) as instance:

            def finished() -> bool:
                run = instance.get_run_by_id(run_id)
                return run is not None and run.is_finished

            if not wait_until(finished, LIMIT_SECONDS):
                raise Broken(f"the run {run_id} never ends")
            run = instance.get_run_by_id(run_id)
            assert run is not None
            return run.status

    def kill(self, victim: str) -> None:
        """Kill a part, the supervisor, or every process of the service and of its runs, with SIGKILL."""
        (status,) = [row for row in self._stack.status() if row.name == KilledConsole.name]
        supervisor = psutil.Process(status.pid)
        if victim in PARTS:
            victims = [psutil.Process(self.parts()[victim].pid)]
        elif victim == SUPERVISOR:
            victims = [supervisor]
        else:
            victims = [supervisor, *supervisor.children(recursive=True)]
        for process in victims:
            try:
                process.kill()
            except psutil.NoSuchProcess:  # it has ended with its parent
                continue
        psutil.wait_procs(victims, timeout=LIMIT_SECONDS)

    def wait_for_restart(self, *names: str) -> None:
        """Wait until the supervisor has started these parts again."""
        if not wait_until(lambda: all(self.parts()[name].restarts and self.parts()[name].pid for name in names), 120):
            raise Broken(f"not started again: {names}")
        self.wait_until_well()

    @contextmanager
    def closed(self, gate: Gate) -> Iterator[None]:
        """Let a run wait at a place inside the block."""
        with closing(psycopg2.connect(self.clinic.bench.database_url)) as holder, holder.cursor() as cursor:
            holder.autocommit = True
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", (GATES, int(gate)))
            yield

    def wait_at(self, gate: Gate) -> None:
        """Wait until the run is there."""
        if not wait_until(lambda: self.clinic.waits_at(gate), LIMIT_SECONDS):
            raise Broken(f"the run never came to {gate.name}")


@contextmanager
def served(clinic: KillClinic) -> Iterator[ServedClinic]:
    """Serve the clinic; its console is not started yet."""
    environment = environment_of(clinic.bench.settings) | {"NEXUS_DATABASE_URL": clinic.postgresql.url(NAME)}
    environment["NEXUS_LOCK_TIMEOUT_SECONDS"] = "600"  # a run waits at a gate as long as the service takes to restart
    with pytest.MonkeyPatch.context() as patch, temporary_stack([]) as idle:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield ServedClinic(clinic, Stack(idle.state_dir, [KilledConsole]))
