"""The sandbox's servers for tests: each starts when the first test of a process needs it."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import disk_usage
from typing import TypeVar

from fm_pipeline.sandbox.stack.filemaker import FileMakerService
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.service import Service
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.sandbox.stack.stack import Stack
from fm_pipeline_tests.support.orthanc import DisposableOrthanc, need_orthanc
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL

S = TypeVar("S", bound=Service)
MEMORY = Path("/dev/shm")  # noqa: S108  # each stack makes a private folder in it
ENOUGH_BYTES = 3 * 2**30


def memory_folder() -> Path | None:
    """Return a folder in memory if this machine has one with enough room; None for the usual place.

    A new database is some thousand small files. On a disk with a journal their creation takes most of a test's time.
    """
    try:
        return MEMORY if os.access(MEMORY, os.W_OK) and disk_usage(MEMORY).free >= ENOUGH_BYTES else None
    except OSError:
        return None


class LazyStack:
    """A running stack that starts a service when it is first used."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    @property
    def postgresql(self) -> DisposablePostgreSQL:
        """PostgreSQL; the fixture `database_url` gives a database for one test."""
        return self._have(DisposablePostgreSQL)

    @property
    def s3(self) -> S3Service:
        """The S3 server."""
        return self._have(S3Service)

    @property
    def filemaker(self) -> FileMakerService:
        """The FileMaker stand-in."""
        return self._have(FileMakerService)

    @property
    def mail(self) -> SmtpService:
        """The mail catcher."""
        return self._have(SmtpService)

    @property
    def orthanc(self) -> OrthancService:
        """Orthanc, with the instances of earlier tests; skips the test if it is not installed."""
        need_orthanc()
        return self._have(DisposableOrthanc)

    def environment(self) -> dict[str, str]:
        """Start the services that do not run yet, and return the settings of all."""
        for kind in (DisposablePostgreSQL, S3Service, FileMakerService, SmtpService):
            self._have(kind)
        return self._stack.environment()

    def _have(self, kind: type[S]) -> S:
        if kind not in self._stack.service_types:
            self._stack.service_types = (*self._stack.service_types, kind)
            self._stack.up()
        return self._stack.service(kind)
