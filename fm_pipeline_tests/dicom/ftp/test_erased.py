"""Files of erased patients on an FTP server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.configuration.configuration import configure
from fm_pipeline.dicom.files.read import found_file
from fm_pipeline.dicom.history.erase_patient import erase_patient_files
from fm_pipeline.dicom.history.history_entry import HistoryEntry
from fm_pipeline.dicom.history.jobs import create_job
from fm_pipeline.dicom.history.rows import write_entries
from fm_pipeline.dicom.model import Outcome
from fm_pipeline_tests.support.dicom import dicom_settings
from fm_pipeline_tests.support.ftp.pulls import pulled
from fm_pipeline_tests.support.ftp.server import FtpBench


def test_a_file_of_an_erased_patient_is_pulled_again_only_if_it_has_changed_on_the_server(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    (server.root / "a").mkdir()
    for name in ("one.dcm", "a/Müller.dcm", "other.dcm"):
        (server.root / name).write_bytes(name.encode())
    folder = tmp_path / "hospital" / "here"
    folder.mkdir(parents=True)
    settings = dicom_settings(database, tmp_path)
    configure(
        settings, {"hospital_data_path": str(folder.parent), "ftp_folder": "here"}, actor="test", now=datetime.now(UTC)
    )
    pulled(database, server, folder)
    job = create_job(database, str(folder.parent), requested_by="test")
    with connect(database) as connection, connection.cursor() as cursor:
        for name in ("one.dcm", "a/Müller.dcm", "other.dcm"):
            entry = HistoryEntry(str(folder / name), Outcome.SKIPPED, found=found_file(str(folder / name)))
            write_entries(cursor, job.id, [entry])
            (folder / name).unlink()
        cursor.execute("UPDATE fm_pipeline.import_history SET patient_id = 'P-2'")
        cursor.execute("UPDATE fm_pipeline.import_history SET patient_id = 'P-1' WHERE file_name <> 'other.dcm'")
        cursor.execute("UPDATE fm_pipeline.import_jobs SET status = 'completed'")
        erased = erase_patient_files(cursor, ["P-1"], [str(folder.parent)])
        cursor.execute(
            "SELECT count(*) FROM fm_pipeline.ftp_files WHERE convert_from(remote_path, 'UTF8') ~ 'one|ller'"
        )
        assert cursor.fetchone() == (0,)
        connection.commit()
    assert erased["ftp_files"] == 2
    assert (pulled(database, server, folder).known, (folder / "one.dcm").exists()) == (3, False)
    (server.root / "one.dcm").write_bytes(b"corrected")
    assert (pulled(database, server, folder).pulled, pulled(database, server, folder).known) == (1, 3)


def test_paths_on_the_server_are_erased_also_if_the_folder_here_was_changed_since(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    (server.root / "Zephyrine.dcm").write_bytes(b"one")
    earlier, now = (tmp_path / "hospital" / name for name in ("earlier", "now"))
    now.mkdir(parents=True)
    pulled(database, server, earlier)
    configure(
        dicom_settings(database, tmp_path),
        {"hospital_data_path": str(now.parent), "ftp_folder": "now"},
        actor="test",
        now=datetime.now(UTC),
    )
    job = create_job(database, str(now.parent), requested_by="test")
    with connect(database) as connection, connection.cursor() as cursor:
        file = str(earlier / "Zephyrine.dcm")
        write_entries(cursor, job.id, [HistoryEntry(file, Outcome.SKIPPED, found=found_file(file))])
        cursor.execute("UPDATE fm_pipeline.import_history SET patient_id = 'P-1'")
        cursor.execute("UPDATE fm_pipeline.import_jobs SET status = 'completed'")
        assert erase_patient_files(cursor, ["P-1"], [str(now.parent)])["ftp_files"] == 1
        cursor.execute("SELECT count(*) FROM fm_pipeline.ftp_files WHERE convert_from(remote_path, 'UTF8') ~ 'Zeph'")
        assert cursor.fetchone() == (0,)
        connection.commit()
    assert pulled(database, server, now).known == 1


@pytest.mark.parametrize("folder_changed", [False, True])
def test_the_path_of_a_file_that_differed_from_the_local_one_is_erased_and_does_not_come_back(
    server: FtpBench, database: str, tmp_path: Path, *, folder_changed: bool
) -> None:
    (server.root / "Zephyrine.dcm").write_bytes(b"one")
    earlier, now = (tmp_path / "hospital" / name for name in ("earlier", "now"))
    for folder in (earlier, now):
        folder.mkdir(parents=True)
    here = earlier / "Zephyrine.dcm"
    here.write_bytes(b"two")
    assert pulled(database, server, earlier).skipped == {"local_file_exists": 1}
    configure(
        dicom_settings(database, tmp_path),
        {"hospital_data_path": str(now.parent), "ftp_folder": "now" if folder_changed else "earlier"},
        actor="test",
        now=datetime.now(UTC),
    )
    job = create_job(database, str(now.parent), requested_by="test")
    with connect(database) as connection, connection.cursor() as cursor:
        write_entries(cursor, job.id, [HistoryEntry(str(here), Outcome.SKIPPED, found=found_file(str(here)))])
        here.unlink()
        cursor.execute("UPDATE fm_pipeline.import_history SET patient_id = 'P-1'")
        cursor.execute("UPDATE fm_pipeline.import_jobs SET status = 'completed'")
        assert erase_patient_files(cursor, ["P-1"], [str(now.parent)])["ftp_files"] == 1
        connection.commit()
    assert pulled(database, server, now if folder_changed else earlier).pulled == 0
    with connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT left(convert_from(remote_path, 'UTF8'), 7) FROM fm_pipeline.ftp_files")
        assert cursor.fetchall() == [("erased ",)]
