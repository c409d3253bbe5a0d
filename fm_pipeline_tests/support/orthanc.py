"""An Orthanc of a test's own: with options of its own, to be restarted and killed; or the shared one, emptied."""

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
    """The same server; ended without the three seconds that it takes to say goodbye, and without waiting for disks."""

    stop_signal: ClassVar[int] = signal.SIGKILL

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"SyncStorageArea": False}


class OwnOrthanc:
    """A server that one test plays with. Its URL and password stay through restarts."""

    def __init__(self, stack: Stack, kind: type[OrthancService]) -> None:
        self._stack, self._kind = stack, kind

    @staticmethod
    def available() -> bool:
        """Whether Orthanc is installed."""
        return OrthancService.available()

    @property
    def service(self) -> OrthancService:
        """The service as the stack knows it."""
        return self._stack.service(self._kind)

    @property
    def process(self) -> psutil.Process | None:
        """Its process; None when it does not run."""
        return find(self.service.record())

    def settings(self) -> dict[str, str]:
        """URL, user and password."""
        return self.service.settings()

    def stop(self) -> None:
        """As an administrator stops it."""
        self._stack.down()

    def kill(self) -> None:
        """SIGKILL, as after a crash."""
        process = self.process
        assert process is not None
        process.kill()
        process.wait(60)

    def start(self) -> None:
        """Have it running, on the same port."""
        self._stack.up()


@contextmanager
def own_orthanc(**options: Any) -> Iterator[OwnOrthanc]:
    """A fresh Orthanc; skips the test where it is not installed.

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
    """Skip the test where Orthanc is not installed."""
    if not OrthancService.available():
        pytest.skip("Orthanc is not installed (Debian: apt-get install orthanc)")


def emptied(orthanc: OrthancService) -> OrthancService:
    """The same server, holding nothing."""
    settings = orthanc.settings()
    with requests.Session() as session:
        session.trust_env = False
        session.auth = (settings["ORTHANC_USERNAME"], settings["ORTHANC_PASSWORD"])
        for patient in session.get(f"{settings['ORTHANC_URL']}/patients", timeout=30).json():
            session.delete(f"{settings['ORTHANC_URL']}/patients/{patient}", timeout=60).raise_for_status()
    return orthanc
