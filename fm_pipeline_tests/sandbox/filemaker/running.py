"""Running the FileMaker stand-in inside a test.

with running_stand_in(store) as stand_in:
    client = DataApi(stand_in.base_url, …)
    stand_in.faults(token_dies_after=3)
    stand_in.advance(minutes=16)
    assert stand_in.counters()["open_sessions"] == 0
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests

from fm_pipeline.sandbox.filemaker.call import Behaviour, Engine
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.filemaker.serving import Server, listen, url
from fm_pipeline_tests.support.waiting import wait_until

START_LIMIT_SECONDS = 60


@dataclass
class StandIn:
    """A running stand-in, and what can be done to it.

    Args:
        base_url: without a slash at the end.
        ca_bundle: the certificate to trust, if it speaks https.
    """

    base_url: str
    ca_bundle: Path | None = None
    _session: requests.Session = field(default_factory=requests.Session, repr=False)

    def faults(self, **wanted: Any) -> None:
        """Set the faults (see `fm_pipeline.sandbox.filemaker.faults.faults.Faults`); without any, heal everything."""
        self._control("PUT", "faults", wanted)

    def disturb(self, what: str, **how: Any) -> None:
        """Set one disturbance (see `faults.RequestFault`) and heal everything else."""
        self.faults(disturbances=[{"what": what, **how}])

    def advance(self, **by: float) -> None:
        """Set the server's clock forward, in the units of `timedelta`."""
        self._control("POST", "clock", {"advance_seconds": timedelta(**by).total_seconds()})

    def hold_clock(self, at: str) -> None:
        """Stop the server's clock at an ISO moment."""
        self._control("POST", "clock", {"hold_at": at})

    def heal(self) -> None:
        """Back to a healthy server at real time, with nobody logged in and nothing counted."""
        self.faults()
        self.finish()
        self.end_sessions()
        self._control("DELETE", "clock")
        self.reset_counters()

    def counters(self) -> dict[str, Any]:
        """What clients did: `requests` by kind, `answers` by code, `open_sessions`, `most_under_way`, …"""
        return self._control("GET", "counters")

    def reset_counters(self) -> None:
        """Count from zero."""
        self._control("DELETE", "counters")

    def end_sessions(self) -> None:
        """Let every token die."""
        self._control("DELETE", "sessions")

    def finish(self) -> None:
        """Let requests end whose clients have gone; else they count for the next test. Faults are healed before."""
        wait_until(lambda: self.counters()["under_way"] == 0)

    def close(self) -> None:
        """Let go of the control connection."""
        self._session.close()

    def _control(self, verb: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._session.request(
            verb,
            f"{self.base_url}/_sandbox/{what}",
            json=body,
            timeout=60,
            verify=str(self.ca_bundle) if self.ca_bundle else True,
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


class _QuickServer(Server):
    """It ends when it is told to. uvicorn notices that within 0.1 s and waits another 0.1 s, in hundreds of tests."""

    _loop: asyncio.AbstractEventLoop
    _end: asyncio.Event

    def stop(self) -> None:
        """End the server, from another thread, once it has started."""
        self._loop.call_soon_threadsafe(self._end.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        serving = asyncio.create_task(super().main_loop())
        await self._end.wait()
        serving.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)  # then those are closed that nobody uses
        if self.server_state.connections:
            await super().shutdown(sockets)


@contextlib.contextmanager
def running_stand_in(
    store: Store, *, behaviour: Behaviour | None = None, tls: tuple[Path, Path] | None = None, port: int = 0
) -> Iterator[StandIn]:
    """Serve a store from a thread of this process.

    Args:
        store: what it serves; the test may go on changing it.
        behaviour: where servers differ, for example `Behaviour(version=19)`.
        tls: certificate and key; the stand-in then speaks https, and `ca_bundle` is the certificate.
        port: 0 takes a free one.
    """
    ready = threading.Event()
    listening = listen(port)
    server = _QuickServer(Engine(store, behaviour), tls, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    stand_in = StandIn(url(listening, tls is not None), tls[0] if tls else None)
    try:
        assert ready.wait(START_LIMIT_SECONDS), "the stand-in did not start"
        yield stand_in
    finally:
        stand_in.close()
        server.stop()
        thread.join(START_LIMIT_SECONDS)
        listening.close()


@contextlib.contextmanager
def stand_in_process(
    state_file: Path, database: str, username: str, password: str, *options: str
) -> Iterator[tuple[StandIn, subprocess.Popen[str]]]:
    """Serve a state file from a process of its own, which a test may kill."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        [
            sys.executable, "-m", "fm_pipeline.sandbox.filemaker", "--port", "0", "--state-file", str(state_file),
            "--database", database, "--username", username, *options,
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FILEMAKER_PASSWORD": password},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        assert line.startswith("listening on "), line
        stand_in = StandIn(line.removeprefix("listening on "))
        yield stand_in, process
        stand_in.close()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(START_LIMIT_SECONDS)
        process.stdout.close()
