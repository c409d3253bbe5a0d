"""Fixtures of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fm_pipeline_tests.support.ftp.server import FtpBench, ftp_server


@pytest.fixture
def database(ledger: str) -> str:
    """The URL of a database in which no file was pulled."""
    return ledger


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FtpBench]:
    root = tmp_path / "server"
    root.mkdir()
    with ftp_server(root) as running:
        yield running
