"""Pulling from the servers that hospitals run: what each of them gives, and how it says no."""

from __future__ import annotations

import ftplib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fm_pipeline.errors import FtpError
from fm_pipeline_tests.support.ftp.pulls import Authority, files, pulled
from fm_pipeline_tests.support.ftp.server import PASSWORD
from fm_pipeline_tests.support.ftp.servers import KINDS, UPLOADS, RealServer, real_server

EVERY_KIND = pytest.mark.parametrize("kind", sorted(KINDS))
# Names that a listing makes hard to read.
NAMES = [
    *(
        " leading.dcm",
        "two  blanks.dcm",
        "trailing ",
        "arrow -> b.dcm",
        "00:12 x",
        "2024 x",
        "total 5",
        "-dash",
        "a; b.dcm",
    ),
    *(
        ".hidden.dcm",
        " a folder/scan.dcm",
        "b/.hidden/scan.dcm",
        "Zoë.dcm",
        os.fsdecode(b"latin-1 \xe9\xff.dcm"),
        "empty",
    ),
]
WAITING = 3.0  # seconds that a reply may take


@pytest.fixture
def database(ledger: str) -> str:
    """The URL of a database in which no file was pulled."""
    return ledger


def fill(server: RealServer) -> None:
    for name in NAMES:
        path = server.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else os.fsencode(name))


@contextmanager
def slow_upload(server: RealServer, name: str) -> Iterator[None]:
    """Somebody uploads a file and has come half way."""
    with ftplib.FTP(timeout=20) as client:  # noqa: S321
        client.connect("127.0.0.1", server.port)
        client.login(server.username, PASSWORD)
        with client.transfercmd(f"STOR {UPLOADS}/{name}") as channel:
            channel.sendall(b"half of it")
            yield
        client.voidresp()


@EVERY_KIND
@pytest.mark.parametrize("security", ["none", "tls"])
def test_every_server_gives_all_that_lies_there(kind: str, security: str, database: str, tmp_path: Path) -> None:
    """With TLS two of them ask that data connections take up the session of the control connection."""
    authority = Authority(tmp_path)
    with real_server(kind, certificate=authority.certificate if security == "tls" else None) as server:
        fill(server)
        report = pulled(database, server, tmp_path / "here", security=security, ca_bundle=authority.bundle)
        assert (report.pulled, report.missing, report.folders_without_dot_files) == (len(NAMES), False, 0)
        assert files(tmp_path / "here") == files(server.root)
        again = pulled(database, server, tmp_path / "here", security=security, ca_bundle=authority.bundle)
        assert (again.pulled, again.known) == (0, len(NAMES))


@EVERY_KIND
def test_what_a_server_cannot_give_is_counted_and_leaves_nothing_behind(
    kind: str, database: str, tmp_path: Path
) -> None:
    with real_server(kind) as server:
        (server.root / "scan.dcm").write_bytes(b"scan")
        (server.root / "link.dcm").symlink_to("scan.dcm")
        (server.root / "secret.dcm").write_bytes(b"secret")
        (server.root / "secret.dcm").chmod(0o600)
        (server.root / "closed").mkdir(mode=0o700)
        (server.root / "entered but not read").mkdir(mode=0o711)
        (server.root / "entered but not read" / "other.dcm").write_bytes(b"other")
        os.mkfifo(server.root / "pipe")
        (server.root / "two\nlines.dcm").write_bytes(b"two lines")
        report = pulled(database, server, tmp_path / "here", timeout_seconds=WAITING)
    assert files(tmp_path / "here") == {"scan.dcm": b"scan"}
    # The second one may be entered, but not read: LIST is empty then, and each of them says 226.
    assert (report.pulled, report.unlisted_folders, report.missing) == (1, 2, True)
    # proftpd lists a FIFO as an empty file, and does not reply when it is asked for.
    assert report.skipped["link_or_special"] + report.skipped["busy_on_server"] == 2
    # A name of two lines is two lines of a listing; pure-ftpd leaves it out.
    half = kind != "pure-ftpd"
    assert (report.skipped["refused_by_server"], report.skipped["listing_not_understood"]) == (1 + half, half)


@EVERY_KIND
def test_a_file_that_somebody_uploads_holds_back_only_itself(kind: str, database: str, tmp_path: Path) -> None:
    """vsftpd does not reply to RETR until the upload has ended; the others send what is there."""
    with real_server(kind) as server:
        for name in ("1.dcm", "3.dcm"):
            (server.root / UPLOADS / name).write_bytes(name.encode())
        with slow_upload(server, "2.dcm"):
            report = pulled(database, server, tmp_path / "here", timeout_seconds=WAITING)
        assert report.skipped["busy_on_server"] == (kind == "vsftpd")
        assert (report.pulled, report.missing) == ((2, True) if kind == "vsftpd" else (3, False))
        assert pulled(database, server, tmp_path / "here").missing is False
        assert files(tmp_path / "here") == files(server.root)


@EVERY_KIND
def test_each_servers_demand_for_tls_and_lack_of_it_is_told(kind: str, database: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with real_server(kind, certificate=authority.certificate) as server:
        with pytest.raises(FtpError, match="lets nobody in without TLS") as told:
            pulled(database, server, tmp_path / "here")
        assert "--ftp-security tls" in told.value.remedy
        with pytest.raises(FtpError, match="not signed by an authority that is trusted"):
            pulled(database, server, tmp_path / "here", security="tls")
    with real_server(kind) as server, pytest.raises(FtpError, match="offers no TLS"):
        pulled(database, server, tmp_path / "here", security="tls")
