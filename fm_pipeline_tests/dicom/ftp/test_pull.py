"""Pulling files from a real FTP server."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.files.read import found_file
from fm_pipeline.dicom.ftp.pull_report import PullReport
from fm_pipeline.dicom.ftp.retrying_session import ATTEMPTS
from fm_pipeline.dicom.history.history_entry import HistoryEntry
from fm_pipeline.dicom.history.jobs import create_job
from fm_pipeline.dicom.history.rows import write_entries
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.dicom.paths import member_path
from fm_pipeline.dicom.reasons import HOLDS_ANOTHER
from fm_pipeline.errors import FtpError
from fm_pipeline_tests.support.ftp.pulls import files, opened, pulled
from fm_pipeline_tests.support.ftp.scripted import scripted_ftp
from fm_pipeline_tests.support.ftp.server import FtpBench

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MEGABYTE = 1024**2


def fill(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "one.dcm").write_bytes(b"one")
    (root / "a" / "two words.dcm").write_bytes(b"two" * 1000)
    (root / "a" / "b" / "-dash").write_bytes(b"")
    (root / "a" / "Müller.dcm").write_bytes(b"umlaut")


@pytest.mark.parametrize("without", [[], ["MLSD"], ["MLSD", "MDTM"]], ids=["MLSD", "LIST", "LIST without times"])
def test_everything_is_pulled_once_and_a_second_pull_fetches_nothing(
    without: list[str], server: FtpBench, database: str, tmp_path: Path
) -> None:
    server.faults.without |= set(without)
    fill(server.root)
    folder = tmp_path / "here"
    first = pulled(database, server, folder)
    assert (first.listed, first.pulled, first.known, first.complete) == (4, 4, 0, True)
    assert files(folder) == files(server.root)
    server.commands.clear()
    second = pulled(database, server, folder)
    assert (second.listed, second.pulled, second.known, second.bytes) == (4, 0, 4, 0)
    assert server.commands["RETR"] == 0
    assert second.known_by_size == (4 if "MDTM" in without else 0)


def test_nothing_is_written_or_deleted_on_the_server(server: FtpBench, database: str, tmp_path: Path) -> None:
    fill(server.root)
    pulled(database, server, tmp_path / "here")
    assert set(server.commands) <= {
        *("USER", "PASS", "TYPE", "FEAT", "OPTS", "CWD", "MLSD", "PASV", "EPSV", "RETR", "SIZE", "MDTM", "QUIT"),
    }


def test_what_was_imported_and_removed_here_is_not_pulled_again(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    fill(server.root)
    folder = tmp_path / "here"
    pulled(database, server, folder)
    job = create_job(database, str(folder), requested_by="test")
    with connect(database) as connection, connection.cursor() as cursor:
        one = str(folder / "one.dcm")
        write_entries(cursor, job.id, [HistoryEntry(one, Outcome.IMPORTED, found=found_file(one))])
        connection.commit()
    (folder / "one.dcm").unlink()
    (folder / "a" / "two words.dcm").unlink()  # before an import has recorded it
    assert pulled(database, server, folder).pulled == 1
    assert not (folder / "one.dcm").exists()
    assert (folder / "a" / "two words.dcm").exists()
    # Another folder is empty, which does not mean that everything is lost.
    (server.root / "new.dcm").write_bytes(b"new")
    assert [pulled(database, server, tmp_path / "there").pulled for _ in range(2)] == [1, 0]
    assert list(files(tmp_path / "there")) == ["new.dcm"]
    shutil.rmtree(folder / "a")
    (folder / "a").write_bytes(b"not a folder")  # nothing in it can be looked for
    assert (pulled(database, server, folder).pulled, (folder / "a").read_bytes()) == (0, b"not a folder")


def test_what_the_ledger_does_not_know_is_compared_once_and_known_from_then_on_if_it_is_the_same(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    """As when the server has another name. The statements are those of docs/dicom.md."""
    fill(server.root)
    folder = tmp_path / "here"
    pulled(database, server, folder)
    (folder / "one.dcm").unlink()
    (folder / "a" / "Müller.dcm").write_bytes(b"others")  # as many bytes
    again = pulled(database, server, folder, host="localhost")
    assert (again.pulled, again.known, again.skipped) == (1, 2, {"local_file_exists": 1})
    assert (folder / "a" / "Müller.dcm").read_bytes() == b"others"
    assert [path for path in folder.rglob("*") if path.suffix == ".partial"] == []
    again = pulled(database, server, folder, host="localhost")
    assert (again.known, again.skipped, again.bytes) == (3, {"local_file_exists": 1}, 0)
    old, new = (f"{server.username}@{host}:{server.port}" for host in ("127.0.0.1", "localhost"))
    with connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM fm_pipeline.ftp_files WHERE server = %s", (new,))
        cursor.execute("UPDATE fm_pipeline.ftp_files SET server = %s WHERE server = %s", (new, old))
        connection.commit()
    assert pulled(database, server, folder, host="localhost").known == 4


def test_a_file_that_changed_on_the_server_is_pulled_again(server: FtpBench, database: str, tmp_path: Path) -> None:
    fill(server.root)
    folder = tmp_path / "here"
    pulled(database, server, folder)
    (server.root / "one.dcm").write_bytes(b"corrected")
    assert pulled(database, server, folder).pulled == 1
    assert (folder / "one.dcm").read_bytes() == b"corrected"


def test_a_file_whose_name_is_used_again_stays_until_an_import_has_recorded_it(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", server.root / "IM1.dcm"
    for content in (b"first", b"second", b"second, whole"):
        there.write_bytes(content)
        assert pulled(database, server, here).pulled == 1
    assert sorted(files(here).values()) == [b"first", b"second, whole"]
    job = create_job(database, str(here), requested_by="test")
    for outcome, flags, left in (
        (Outcome.SUSPECT, (), 3),
        (Outcome.IMPORTED, (HOLDS_ANOTHER,), 4),
        (Outcome.IMPORTED, (), 4),
    ):
        found = found_file(str(here / "IM1.dcm"))
        with connect(database) as connection, connection.cursor() as cursor:
            write_entries(cursor, job.id, [HistoryEntry(str(here / "IM1.dcm"), outcome, found=found, flags=flags)])
            connection.commit()
        there.write_bytes(f"another, after {outcome} {flags}".encode())
        assert pulled(database, server, here).pulled == 1
        assert len(files(here)) == left
    assert (here / "IM1.dcm").read_bytes() == b"another, after imported ()"


@pytest.mark.parametrize("kind", ["link to nothing", "pipe"])
def test_what_cannot_be_compared_with_a_later_file_is_kept_and_does_not_stop_the_pull(
    kind: str, server: FtpBench, database: str, tmp_path: Path
) -> None:
    here = tmp_path / "here" / "IM1.dcm"
    (server.root / "IM1.dcm").write_bytes(b"first")
    pulled(database, server, here.parent)
    here.unlink()
    here.symlink_to(tmp_path / "not mounted") if kind == "link to nothing" else os.mkfifo(here)
    (server.root / "IM1.dcm").write_bytes(b"the second")
    report = pulled(database, server, here.parent)
    assert (report.pulled, report.kept, here.read_bytes()) == (1, 1, b"the second")
    assert len(list(here.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("outcome", "reason", "member", "is_kept"),
    [
        (Outcome.SKIPPED, "archive_not_opened", None, True),
        (Outcome.BAD, "archive_too_large", None, True),
        (Outcome.SKIPPED, "archive_without_dicom", None, False),
        (Outcome.SKIPPED, "archive_opened", (Outcome.IMPORTED, None), False),
        (Outcome.SKIPPED, "archive_opened", (Outcome.SUSPECT, "kills_orthanc"), True),
        (Outcome.SKIPPED, "archive_opened", (Outcome.SKIPPED, "nested_archive"), True),
        (Outcome.SKIPPED, "archive_opened", (Outcome.SKIPPED, "filtered_by_orthanc"), True),
    ],
)
def test_an_archive_of_which_something_is_not_in_orthanc_is_kept(
    outcome: Outcome,
    reason: str,
    member: tuple[Outcome, str | None] | None,
    is_kept: bool,
    server: FtpBench,
    database: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "here" / "day.zip"
    (server.root / "day.zip").write_bytes(b"first")
    pulled(database, server, path.parent)
    entries = [HistoryEntry(str(path), outcome, reason, found_file(str(path)))]
    entries += [HistoryEntry(member_path(str(path), "1.dcm"), *member)] if member else []
    job = create_job(database, str(path.parent), requested_by="test")
    with connect(database) as connection, connection.cursor() as cursor:
        write_entries(cursor, job.id, entries)
        connection.commit()
    (server.root / "day.zip").write_bytes(b"the second")
    report = pulled(database, server, path.parent)
    assert (report.pulled, report.kept, path.read_bytes()) == (1, is_kept, b"the second")


@pytest.mark.parametrize("without", [set(), {"REST"}], ids=["resumes", "a server that cannot resume"])
def test_a_cut_connection_is_taken_up_where_it_was(
    without: set[str], server: FtpBench, database: str, tmp_path: Path
) -> None:
    content = os.urandom(6 * MEGABYTE)
    (server.root / "big.dcm").write_bytes(content)
    server.faults.cut_after = [2 * MEGABYTE, MEGABYTE]
    server.faults.without |= without
    report = pulled(database, server, tmp_path / "here")
    assert report.pulled == 1
    assert files(tmp_path / "here") == {"big.dcm": content}
    assert server.commands["RETR"] == 3
    assert server.commands["REST"] == 2
    assert (report.bytes < 7 * MEGABYTE) is not bool(without)


def test_a_file_that_was_given_up_is_gone_on_with_by_the_next_pull(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    content = os.urandom(6 * MEGABYTE)
    (server.root / "big.dcm").write_bytes(content)
    server.faults.cut_after = [2 * MEGABYTE] + [0] * ATTEMPTS
    assert pulled(database, server, tmp_path / "here").skipped == {"cut_short": 1}
    assert [path.suffix for path in (tmp_path / "here").iterdir()] == [".partial"]
    report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.resumed) == (1, 1)
    assert 0 < report.bytes <= 4 * MEGABYTE
    assert files(tmp_path / "here") == {"big.dcm": content}


def test_a_part_of_an_earlier_version_is_not_continued(server: FtpBench, database: str, tmp_path: Path) -> None:
    (server.root / "big.dcm").write_bytes(b"1" * 6 * MEGABYTE)
    server.faults.cut_after = [2 * MEGABYTE] + [0] * ATTEMPTS
    assert pulled(database, server, tmp_path / "here").skipped == {"cut_short": 1}
    (server.root / "big.dcm").write_bytes(b"2" * 5 * MEGABYTE)
    report = pulled(database, server, tmp_path / "here")
    assert report.resumed == 0
    assert files(tmp_path / "here") == {"big.dcm": b"2" * 5 * MEGABYTE}


def test_a_file_that_grows_while_it_is_pulled_waits_for_the_next_pull(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    growing = server.root / "growing.dcm"
    growing.write_bytes(b"1" * MEGABYTE)
    seen: list[int] = []

    def grow(report: PullReport) -> None:
        if not seen:
            with growing.open("ab") as file:
                file.write(b"2" * MEGABYTE)
        seen.append(report.bytes)

    with opened(database, server, tmp_path / "here") as one:
        one._on_progress = grow
        assert one.run().skipped == {"changed_while_pulled": 1}
    assert files(tmp_path / "here").keys().isdisjoint({"growing.dcm"})
    assert pulled(database, server, tmp_path / "here").pulled == 1
    assert (tmp_path / "here" / "growing.dcm").read_bytes() == growing.read_bytes()


@pytest.mark.hard_case(47)
def test_hostile_names_are_refused_and_nothing_lands_outside(server: FtpBench, database: str, tmp_path: Path) -> None:
    facts = "type=file;size=3;modify=20260101000000;perm=r;unique=1; "
    hostile = ["../../outside.dcm", "/etc/cron.d/x", "..", "a\0b", "x/../../y", "n" * 300]
    lines = [*(facts + name for name in hostile), facts.replace("file", "dir") + "../up"]
    lines.append(facts.replace("type=file", "type=OS.unix=slink") + "link.dcm")
    lines.append(facts + "still-there.partial")
    server.faults.lines = [line.encode() + b"\r\n" for line in lines]
    (server.root / "good.dcm").write_bytes(b"good")
    report = pulled(database, server, tmp_path / "here")
    assert report.skipped == {"name_refused": 6, "name_too_long": 1, "link_or_special": 1, "unfinished_name": 1}
    assert report.pulled == 1
    assert not report.complete
    assert files(tmp_path / "here") == {"good.dcm": b"good"}
    assert {path.name for path in tmp_path.iterdir()} == {"server", "here"}


def test_names_keep_their_bytes(server: FtpBench, database: str, tmp_path: Path) -> None:
    (server.root / "e\u0301.dcm").write_bytes(b"decomposed")
    (server.root / "\u00e9.dcm").write_bytes(b"composed")
    assert pulled(database, server, tmp_path / "here").pulled == 2
    assert files(tmp_path / "here") == files(server.root)


def test_somebody_elses_file_is_never_overwritten(server: FtpBench, database: str, tmp_path: Path) -> None:
    fill(server.root)
    folder = tmp_path / "here"
    (folder / "a").mkdir(parents=True)
    (folder / "one.dcm").write_bytes(b"mine")
    (folder / "a" / "b").write_bytes(b"a file where the server has a folder")
    report = pulled(database, server, folder)
    assert report.skipped == {"local_file_exists": 2}
    assert (folder / "one.dcm").read_bytes() == b"mine"


def test_a_folder_that_lies_in_itself_is_pulled_once(server: FtpBench, database: str, tmp_path: Path) -> None:
    """This server shows a link to a folder as a folder."""
    fill(server.root)
    (server.root / "a" / "b" / "up").symlink_to(server.root / "a")
    (server.root / "a" / "itself").symlink_to(server.root / "a")
    report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.skipped, report.missing) == (4, {"link_or_special": 2}, False)
    assert len(files(tmp_path / "here")) == 4


def test_a_folder_in_itself_ends_somewhere_on_a_server_that_tells_no_ids(ledger: str, tmp_path: Path) -> None:
    within = {"MLSD": b"type=dir;modify=20251122103000; again\r\n"}
    with scripted_ftp({}, within) as server:
        assert pulled(ledger, server, tmp_path / "here").skipped == {"too_deep": 1}


@pytest.mark.parametrize("call", ["lstat", "replace"])
def test_a_name_that_our_disk_does_not_take_does_not_stop_the_others(
    call: str, server: FtpBench, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server.root)
    real = getattr(os, call)

    def refusing(path: object, *more: object, **options: object) -> object:
        if str((path, *more)[-1]).endswith("one.dcm"):
            raise OSError(errno.EILSEQ, "Invalid or incomplete multibyte or wide character")
        return real(path, *more, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refusing)
        report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.skipped) == (3, {"name_too_long": 1})
    assert [path for path in (tmp_path / "here").iterdir() if path.is_file()] == []


def test_a_link_in_our_folder_does_not_lead_a_file_out_of_it(server: FtpBench, database: str, tmp_path: Path) -> None:
    fill(server.root)
    folder, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "a").symlink_to(elsewhere)
    report = pulled(database, server, folder)
    assert report.skipped["local_link"] == 3
    assert list(elsewhere.rglob("*")) in ([], [elsewhere / "b"])


def test_a_name_is_on_the_disk_before_the_ledger_says_so(
    server: FtpBench, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut takes the file, and no later pull fetches it: the ledger has it as pulled."""
    (server.root / "one.dcm").write_bytes(b"content")
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def noted(handle: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        synced.append((path, (tmp_path / "here" / "one.dcm").exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    pulled(database, server, tmp_path / "here")
    assert (str(tmp_path / "here"), True) in synced


def test_a_file_that_is_busy_there_does_not_hold_back_those_behind_it(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    for name in ("1.dcm", "2.dcm", "3.dcm", "later/4.dcm"):
        (server.root / name).parent.mkdir(exist_ok=True)
        (server.root / name).write_bytes(name.encode())
    server.faults.busy = ("2.dcm", "/later")
    report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.skipped, report.unlisted_folders) == (2, {"busy_on_server": 1}, 1)
    assert server.commands["USER"] == 1
    server.faults.busy = ()
    assert (pulled(database, server, tmp_path / "here").pulled, files(tmp_path / "here")) == (2, files(server.root))


def test_nothing_is_left_of_a_file_that_is_refused(server: FtpBench, database: str, tmp_path: Path) -> None:
    fill(server.root)
    server.faults.refused = ("one.dcm", "-dash")
    report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.skipped, report.missing) == (2, {"refused_by_server": 2}, True)
    assert [path for path in (tmp_path / "here").rglob("*") if path.suffix == ".partial"] == []
    (tmp_path / "here" / "one.dcm").write_bytes(b"mine")
    server.faults.refused = ()
    assert pulled(database, server, tmp_path / "here").skipped == {"local_file_exists": 1}


def test_a_file_at_which_the_connection_is_lost_each_time_does_not_stop_the_others(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    for name in ("1.dcm", "2.dcm", "3.dcm"):
        (server.root / name).write_bytes(name.encode())
    server.faults.cuts_at = ("2.dcm",)
    report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.skipped) == (2, {"cut_short": 1})
    server.faults.cuts_at = (".dcm",)
    for name in ("4.dcm", "5.dcm", "6.dcm", "7.dcm"):
        (server.root / name).write_bytes(name.encode())
    with pytest.raises(FtpError, match="loses the connection"):
        pulled(database, server, tmp_path / "here")


def test_a_folder_that_cannot_be_listed_is_counted(server: FtpBench, database: str, tmp_path: Path) -> None:
    fill(server.root)
    server.faults.forbidden = ("/a",)
    report = pulled(database, server, tmp_path / "here")
    assert (report.unlisted_folders, report.pulled, report.complete) == (1, 1, False)
