"""The log of the import."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
from pathlib import Path

import pytest

from fm_pipeline.dicom import log
from fm_pipeline.dicom.formats import duration_formatted, size_formatted
from fm_pipeline_tests.support.dicom import dicom_settings


def write(folder: Path, name: str, lines: int) -> None:
    with log.import_log(dicom_settings("postgresql://x/x", folder)) as logger:
        for number in range(lines):
            logger.info("%s %d", name, number)


def test_a_line_has_time_and_level_and_no_line_can_be_forged(tmp_path: Path) -> None:
    settings = dicom_settings("postgresql://x/x", tmp_path)
    with log.import_log(settings):
        logging.getLogger("fm_pipeline.dicom.anything").warning("one\n2026-01-01 00:00:00 info: two")
    logging.getLogger("fm_pipeline.dicom.anything").warning("not within the block")
    (line,) = log.log_file(settings).read_text().splitlines()
    assert line[19:].startswith(" warning: one 2026")
    assert log.log_file(settings).stat().st_mode & 0o777 == 0o600


def test_it_rotates_and_loses_no_line_of_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FILE_BYTES", 4096)
    spawned = [
        multiprocessing.get_context("fork").Process(target=write, args=(tmp_path, name, 200)) for name in ("a", "b")
    ]
    for process in spawned:
        process.start()
    for process in spawned:
        process.join(120)
        assert process.exitcode == 0
    files = list((tmp_path / "state" / "logs").glob("import.log*"))
    assert 3 < len(files) <= log.FILES_KEPT + 1
    lines = [line.split("info: ")[1] for path in files for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name} {number}" for name in ("a", "b") for number in range(200))
    assert all(path.stat().st_size <= 4096 for path in files)


def test_imports_of_several_threads_write_each_line_once_until_the_last_has_ended(tmp_path: Path) -> None:
    settings, logger = dicom_settings("postgresql://x/x", tmp_path), logging.getLogger(log.LOGGER)
    first, second = log.import_log(settings), log.import_log(settings)
    first.__enter__()
    second.__enter__()
    logger.info("both")
    first.__exit__(None, None, None)
    logger.info("one")
    second.__exit__(None, None, None)
    logger.info("none")
    lines = [line.split("info: ")[1] for line in log.log_file(settings).read_text().splitlines()]
    assert (lines, logger.level) == (["both", "one"], logging.NOTSET)


@pytest.mark.parametrize("in_the_way", ["state", "state/logs/import.log", "state/logs/import.lock"])
def test_a_log_that_cannot_be_written_is_told_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, in_the_way: str
) -> None:
    taken = tmp_path / in_the_way
    if in_the_way == "state":
        taken.write_text("a file where the folder would be")
    else:
        taken.mkdir(parents=True)  # no file can be opened there, as with one that belongs to another user
    write(tmp_path, "a", 2)
    assert caplog.text.count("cannot be written") == 1
    assert capsys.readouterr().err.count("info: a") == 2


def test_a_log_whose_folder_goes_while_it_is_open_stops_nothing(tmp_path: Path) -> None:
    with log.import_log(dicom_settings("postgresql://x/x", tmp_path)) as logger:
        shutil.rmtree(tmp_path / "state")
        logger.info("a line")


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1023, "1023 B"), (524_288, "512.00 KB"), (2_147_483_648, "2.00 GB"), (1024**2 - 1, "1.00 MB")],
)
def test_sizes_are_written_as_the_hospitals_system_does(size: int, words: str) -> None:
    assert size_formatted(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (300, "5 minutes"), (7200, "2 hours"), (200_000, "2 days")],
)
def test_durations_are_written_as_the_hospitals_system_does(seconds: float, words: str) -> None:
    assert duration_formatted(seconds) == words
