"""Listings of FTP servers: every name is told, or it is said that it could not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from fm_pipeline.dicom.ftp.listing import RemoteEntry, entries_of_list, entries_of_mlsd, with_names
from fm_pipeline.errors import FtpError
from fm_pipeline_tests.dicom.ftp.listings import Listing, listings
from fm_pipeline_tests.support.ftp.pulls import files, pulled
from fm_pipeline_tests.support.ftp.server import FtpBench, ftp_server


@pytest.fixture
def database(ledger: str) -> str:
    """The URL of a database in which no file was pulled."""
    return ledger


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FtpBench]:
    root = tmp_path / "server"
    (root / "a folder").mkdir(parents=True)
    (root / "scan 1.dcm").write_bytes(b"one")
    (root / "a folder" / "scan 2.dcm").write_bytes(b"two")
    with ftp_server(root) as running:
        running.faults.without |= {"MLSD"}
        yield running


@hypothesis_settings(max_examples=150, derandomize=True)
@given(listings())
def test_every_name_comes_out_as_the_server_wrote_it(listing: Listing) -> None:
    assert listing.holds()


@pytest.mark.parametrize(
    ("line", "kind", "name"),
    [
        ("-rw-r--r--   1 ct  Domain Users    1024 Nov 22 10:30 scan.dcm", "file", "scan.dcm"),
        ("-rw-r--r--   1 ct              1024 Nov 22 10:30 scan.dcm", "file", "scan.dcm"),
        ("drwxr-xr-x1234 ct  users   4096 Nov 22  2024 scan.dcm", "folder", "scan.dcm"),
        ("drwxr-xr-x   folder        2 Nov 22  2024 scan.dcm/", "folder", "scan.dcm"),
        ("-rw-r--r--+  1 ct  users     34.5k 22. Nov 10:30 scan.dcm", "file", "scan.dcm"),
        ("-r--r--r--   ct  longgroup123456 Nov 22 10:30 scan.dcm", "file", "scan.dcm"),
        ("-rw-r--r--   1 ct  users     1024 26. Juli, 20:10 scan.dcm", "file", "scan.dcm"),
        ("-rw-r--r--   1 ct  users     1024 2025   3月 20 scan.dcm", "file", "scan.dcm"),
        ("-rw-r--r--   1 ct  users     1024 3 29 03:26 scan.dcm", "file", "scan.dcm"),
        ("-rw-r--r--   1 ct  users     1024 01-nov-25 scan.dcm", "file", "scan.dcm"),
        ("lrwxrwxrwx   1 ct  users        8 Nov 22 10:30 scan.dcm -> elsewhere", "other", "scan.dcm"),
        ("brw-rw----   1 ct  disk      8, 0 Nov 22 10:30 scan.dcm", "other", "scan.dcm"),
        ("0100644   500  101   1024    1763807400       scan.dcm", "file", "scan.dcm"),
        ("1024  Nov 22, 2025 10:30 scan.dcm", "file", "scan.dcm"),
        ("0  Nov 22, 2025 10:30 scan.dcm/", "folder", "scan.dcm"),
        ("scan.dcm       1024  11/22/25  Sat.   10:20:03", "file", "scan.dcm"),
        ("22.11.2025  10:30    <JUNCTION>     scan.dcm", "other", "scan.dcm"),
        ("SCAN.DCM;2   [PACS]    1/3     2-NOV-2025 13:05  (RWE,RWE,RE,)", "file", "SCAN.DCM;2"),
        ("CTABDOMENS.DCM;3  2/9   1-NOV-2025 10:30:15  [PACS,CT] (RWED,RWED,RE,)", "file", "CTABDOMENS.DCM;3"),
        ("-C--E-----FTP B PACS       7670  1294495 Nov 22 07:42 SCAN.DCM", "file", "SCAN.DCM"),
        ("SCAN.DIR;1  insufficient privilege or object protection violation", "folder", "SCAN"),
        ("PACS01 3390   2025/11/22  1  200  FB      80  8053  PS  SCAN.DCM", "file", "SCAN.DCM"),
        ("PACS01 3390   2025/11/22  1    3  FB      80  3125  PO  SCAN.LIB", "folder", "SCAN.LIB"),
        ("SCAN      01.01 2025/11/22 2025/11/22 16:32   128   128    0 PACS12", "file", "SCAN"),
        ("                                           *MEM       SCAN.MBR", "file", "SCAN.MBR"),
    ],
)
def test_a_line_of_any_system_gives_its_name(line: str, kind: str, name: str) -> None:
    (found,) = entries_of_list([line.encode()])
    assert (found.kind, found.name.decode()) == (kind, name)


def test_lines_about_the_listing_are_no_names() -> None:
    vms = [b"Directory DISK$DATA:[PACS]", b"", b"A.DCM;1  2/9  22-NOV-2025 10:30:15  [P,C] (RWED,RWED,RE,)", b""]
    assert [entry.name for entry in entries_of_list([*vms, b"Total of 1 file, 2/9 blocks."])] == [b"A.DCM;1"]
    vxworks = [b"  size          date       time       name", b"--------       ------     ------    --------"]
    assert entries_of_list(vxworks) == []
    assert [entries_of_list([f"{word} 12".encode()]) for word in ("total", "insgesamt", "合計", "yhteensä")] == [[]] * 4


def test_a_fact_with_a_blank_does_not_cost_the_name() -> None:
    lines = [
        b"type=file;size=3;modify=20251122103000;UNIX.groupname=domain users; a; b.dcm",
        b"type=OS.unix=slink:;size=3; link",
        b"Type=dir;Modify=20251122103000.123;  two blanks",
        b"type=cdir;modify=20251122103000; .",
        b"a name's second line",
        b"size=99999999999999999999;type=file; large",
    ]
    found = [(entry.name, entry.kind, entry.size) for entry in entries_of_mlsd(lines)]
    assert found == [
        (b"a; b.dcm", "file", 3),
        (b"link", "other", 3),
        (b" two blanks", "folder", None),
        (b"", "not_understood", None),
        (b"large", "file", None),
    ]


def test_between_two_readings_of_a_line_the_names_of_the_folder_decide() -> None:
    lines = [b"-rw-r--r-- 1 ct users 1024 Nov 22  2024 10:30 scan.dcm", b"-rw-r--r-- 1 ct users 1 Nov 22 10:30 x"]
    for name in (b"10:30 scan.dcm", b"scan.dcm"):
        assert [entry.name for entry in with_names(entries_of_list(lines), [name, b"x"])] == [name, b"x"]
    unknown = b"-rw-r--r-- 1 ct users 1024 the eleventh scan 1.dcm"
    assert with_names(entries_of_list([unknown]), [b"1.dcm", b"scan 1.dcm"]) == [RemoteEntry(b"scan 1.dcm", "file")]
    assert with_names(entries_of_list([unknown]), []) == [RemoteEntry(b"", "not_understood")]


def with_a_form_of(kind: str) -> Callable[[bytes, bool, int], bytes]:
    def unix(name: bytes, folder: bool, size: int) -> bytes:
        return b"%brw-r--r--+ 1 ct Domain Users %d Okt 22 10:30 %b" % (b"d" if folder else b"-", size, name)

    def iis(name: bytes, folder: bool, size: int) -> bytes:
        return b"22.11.2025  10:30    " + (b"<DIR>          " if folder else b"%14d " % size) + name

    def unheard_of(name: bytes, folder: bool, size: int) -> bytes:
        return b"%brwxrwxrwx in the eleventh month, %d bytes: %b" % (b"d" if folder else b"-", size, name)

    return {"unix": unix, "iis": iis, "unheard of": unheard_of}[kind]


@pytest.mark.parametrize("form", ["unix", "iis", "unheard of"])
def test_a_pull_from_a_server_without_mlsd_brings_everything(
    form: str, server: FtpBench, database: str, tmp_path: Path
) -> None:
    server.faults.listed, server.faults.head = with_a_form_of(form), [b"insgesamt 12"]
    report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.missing) == (2, False)
    assert files(tmp_path / "here") == files(server.root)


def test_a_listing_of_which_nothing_is_understood_is_an_error(server: FtpBench, database: str, tmp_path: Path) -> None:
    server.faults.listed = lambda name, folder, size: b"%b (%d)" % (name, size)
    with pytest.raises(FtpError, match="in a form that is not known: 2 lines, and none could be read"):
        pulled(database, server, tmp_path / "here")


def test_a_line_that_is_not_understood_is_counted_by_a_reason_of_its_own(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    unix = with_a_form_of("unix")
    server.faults.listed = lambda name, folder, size: unix(name, folder, size) if folder else b"scan (%d)" % size
    report = pulled(database, server, tmp_path / "here")
    # Of "a folder" nothing is understood.
    assert (report.listed, report.skipped, report.unlisted_folders) == (1, {"listing_not_understood": 1}, 1)
    assert report.missing


@pytest.mark.parametrize("fault", ["dash_is_a_name", "dash_ends"])
def test_a_server_that_knows_no_options_of_list_is_listed_without_them(
    fault: str, server: FtpBench, database: str, tmp_path: Path
) -> None:
    setattr(server.faults, fault, True)
    report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.folders_without_dot_files) == (2, 2)
    assert server.commands["LIST"] == (3 if fault == "dash_is_a_name" else 4)


def test_mlsd_that_cannot_be_read_is_left_for_list(server: FtpBench, database: str, tmp_path: Path) -> None:
    server.faults.without.clear()
    server.faults.mlsd = lambda line: b"what is this: " + line
    assert pulled(database, server, tmp_path / "here").pulled == 2
    assert server.commands["MLSD"] == 1


def test_an_empty_folder_is_listed_though_the_server_refuses_mlsd_of_every_folder(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    server.faults.without.clear()
    server.faults.denied |= {"MLSD"}
    server.faults.dash_is_a_name = True
    (server.root / "an empty folder").mkdir()
    report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.unlisted_folders, report.missing) == (2, 0, False)
    assert server.commands["MLSD"] == 1


def test_what_was_deleted_on_the_server_is_left_out(server: FtpBench, database: str, tmp_path: Path) -> None:
    (server.root / "#recycle").mkdir()
    (server.root / "#recycle" / "deleted.dcm").write_bytes(b"deleted")
    report = pulled(database, server, tmp_path / "here")
    assert (report.pulled, report.skipped, report.missing) == (2, {"excluded_folder": 1}, False)
    assert not (tmp_path / "here" / "#recycle").exists()
