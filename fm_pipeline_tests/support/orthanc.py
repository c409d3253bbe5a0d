"""Orthanc for tests: a server with its own options that a test may restart and kill, or the shared one, emptied."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import psutil
import pytest
import requests

from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.processes import find
from fm_pipeline.sandbox.stack.stack import Stack, temporary_stack


class DisposableOrthanc(OrthancService):
    """The same server, faster: it is killed, because it takes three seconds to stop, and does not sync its files."""

    stop_signal: ClassVar[int] = signal.SIGKILL

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"SyncStorageArea": False}


class OwnOrthanc:
    """A server of one test, which may stop and restart it. URL and password stay the same."""

    def __init__(self, stack: Stack, kind: type[OrthancService]) -> None:
        self._stack, self._kind = stack, kind

    @staticmethod
    def available() -> bool:
        """Whether Orthanc is installed."""
        return OrthancService.available()

    @property
    def service(self) -> OrthancService:
        """The service of the stack."""
        return self._stack.service(self._kind)

    @property
    def process(self) -> psutil.Process | None:
        """Its process; None if it does not run."""
        return find(self.service.record())

    def settings(self) -> dict[str, str]:
        """Return URL, user and password."""
        return self.service.settings()

    def stop(self) -> None:
        """Stop it in an orderly way."""
        self._stack.down()

    def kill(self) -> None:
        """Kill it with SIGKILL, as in a crash."""
        process = self.process
        assert process is not None
        process.kill()
        process.wait(60)

    def start(self) -> None:
        """Start it on the same port, if it does not run."""
        self._stack.up()


@contextmanager
def own_orthanc(**options: Any) -> Iterator[OwnOrthanc]:
    """Run a new Orthanc; skip the test if it is not installed.

    Args:
        options: Orthanc's own, for example `MaximumStorageSize=1`.
    """
    need_orthanc()

    class Configured(DisposableOrthanc):
        extra: ClassVar[Mapping[str, Any]] = options

        def configuration(self) -> dict[str, Any]:
            return super().configuration() | dict(self.extra)

    with temporary_stack([Configured]) as stack:
        yield OwnOrthanc(stack, Configured)


def need_orthanc() -> None:
    """Skip the test if Orthanc is not installed."""
    if not OrthancService.available():
        pytest.skip("Orthanc is not installed (Debian: apt-get install orthanc)")


def emptied(orthanc: OrthancService) -> OrthancService:
    """Delete all instances of a server and return it."""
    settings = orthanc.settings()
    with requests.Session() as session:
        session.trust_env = False
        session.auth = (settings["ORTHANC_USERNAME"], settings["ORTHANC_PASSWORD"])
        for patient in session.get(f"{settings['ORTHANC_URL']}/patients", timeout=30).json():
            session.delete(f"{settings['ORTHANC_URL']}/patients/{patient}", timeout=60).raise_for_status()
    return orthanc
