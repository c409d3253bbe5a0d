"""Pulls from a test server into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import trustme

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.ftp.ftp_ledger import FtpLedger
from fm_pipeline.dicom.ftp.pull import Pull
from fm_pipeline.dicom.ftp.pull_report import PullReport
from fm_pipeline.dicom.ftp.retrying_session import RetryingFtpSession
from fm_pipeline.dicom.ftp.session import FtpServer
from fm_pipeline_tests.support.ftp.server import PASSWORD


class Served(Protocol):
    """A server on 127.0.0.1."""

    @property
    def port(self) -> int: ...

    @property
    def username(self) -> str: ...


@contextmanager
def opened(
    database_url: str, bench: Served, folder: Path, *, timeout_seconds: float = 60, **more: object
) -> Iterator[Pull]:
    given = {
        "host": "127.0.0.1",
        "port": bench.port,
        "username": bench.username,
        "password": PASSWORD,
        "security": "none",
    }
    server = FtpServer(**(given | more))  # type: ignore[arg-type]
    with connect(database_url) as connection:
        session = RetryingFtpSession(server, timeout_seconds=timeout_seconds, pause=lambda _: None)
        yield Pull(session, FtpLedger(connection, server.name), folder)


def pulled(
    database_url: str, bench: Served, folder: Path, *, timeout_seconds: float = 60, **more: object
) -> PullReport:
    with opened(database_url, bench, folder, timeout_seconds=timeout_seconds, **more) as one:
        return one.run()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Authority:
    """A certificate authority, and a server's certificate signed by it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.bundle, self.certificate = folder / "ca.pem", folder / "server.pem"
        authority.cert_pem.write_to_path(self.bundle)
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self.certificate)
