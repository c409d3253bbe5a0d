"""A pull over TLS, with wrong settings, and as it is configured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.configuration.configuration import configure
from fm_pipeline.dicom.ftp.configured_pull import pull
from fm_pipeline.dicom.ftp.ftp_ledger import only_one_pull
from fm_pipeline.dicom.watch.watched_directories import remember_root
from fm_pipeline.errors import FtpError, RequestError
from fm_pipeline.settings import Settings
from fm_pipeline_tests.dicom.ftp.test_pull import NOW, fill
from fm_pipeline_tests.support.dicom import dicom_settings
from fm_pipeline_tests.support.ftp.pulls import Authority, files, pulled
from fm_pipeline_tests.support.ftp.server import PASSWORD, USER, FtpBench, ftp_server


def test_a_wrong_password_is_tried_once(server: FtpBench, database: str, tmp_path: Path) -> None:
    with pytest.raises(FtpError, match="not tried again") as told:
        pulled(database, server, tmp_path / "here", password="wrong")
    assert server.commands["PASS"] == 1
    assert "wrong" not in str(told.value).replace("wrong passwords", "")


def test_a_password_with_any_characters_is_sent_as_it_is(database: str, tmp_path: Path) -> None:
    password = "pä€ß 100% @:/#'\"\\"
    with ftp_server(tmp_path, password=password) as server:
        pulled(database, server, tmp_path / "here", password=password)
    assert server.commands["PASS"] == 1


def test_a_server_that_is_away_ends_the_pull_with_a_sentence(database: str, tmp_path: Path) -> None:
    with ftp_server(tmp_path) as gone:
        pass
    with pytest.raises(FtpError, match="does not answer"):
        pulled(database, gone, tmp_path / "here")


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[FtpBench, Authority]]:
    root = tmp_path / "server"
    root.mkdir()
    authority = Authority(tmp_path)
    with ftp_server(root, certificate=authority.certificate) as running:
        yield running, authority


def test_over_tls_the_certificate_is_verified_by_the_authority_that_is_named(
    tls: tuple[FtpBench, Authority], database: str, tmp_path: Path
) -> None:
    server, authority = tls
    fill(server.root)
    report = pulled(database, server, tmp_path / "here", security="tls", ca_bundle=authority.bundle)
    assert report.pulled == 4
    assert files(tmp_path / "here") == files(server.root)


def test_a_certificate_of_an_unknown_authority_is_refused_before_the_password_is_sent(
    tls: tuple[FtpBench, Authority], database: str, tmp_path: Path
) -> None:
    server, _ = tls
    with pytest.raises(FtpError, match="not signed by an authority that is trusted"):
        pulled(database, server, tmp_path / "here", security="tls")
    assert server.commands["PASS"] == 0
    fill(server.root)
    assert pulled(database, server, tmp_path / "here", security="tls_unverified").pulled == 4


def test_a_data_connection_that_ends_without_the_goodbye_of_tls_is_whole(
    tls: tuple[FtpBench, Authority], database: str, tmp_path: Path
) -> None:
    server, authority = tls
    fill(server.root)
    server.faults.without_goodbye = True
    report = pulled(database, server, tmp_path / "here", ca_bundle=authority.bundle, security="tls")
    assert (report.pulled, report.missing) == (4, False)
    assert files(tmp_path / "here") == files(server.root)
    assert server.commands["USER"] == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ca_bundle": Path("/nowhere/ca.pem")}, "FTP_CA_BUNDLE is not a file .* .FileNotFoundError"),
        ({"ca_bundle": Path(__file__)}, "FTP_CA_BUNDLE is not a file .* .SSLError"),
        ({"host": "a" * 80 + ".example"}, "not a name that a host can have"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    wrong: dict[str, Any], told: str, server: FtpBench, database: str, tmp_path: Path
) -> None:
    with pytest.raises(FtpError, match=told):
        pulled(database, server, tmp_path / "here", security="tls", **wrong)
    assert server.commands["USER"] == 0


def test_a_server_without_tls_is_told_as_such_before_the_password_is_sent(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    with pytest.raises(FtpError, match="offers no TLS"):
        pulled(database, server, tmp_path / "here", security="tls")
    assert server.commands["PASS"] == 0


def test_a_server_that_asks_for_tls_is_told_as_such(
    tls: tuple[FtpBench, Authority], database: str, tmp_path: Path
) -> None:
    with pytest.raises(FtpError, match="lets nobody in without TLS"):
        pulled(database, tls[0], tmp_path / "here")


def test_a_path_that_is_not_there_is_an_error(server: FtpBench, database: str, tmp_path: Path) -> None:
    server.faults.forbidden = ("/",)
    with pytest.raises(FtpError, match="does not list the configured folder"):
        pulled(database, server, tmp_path / "here")


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    (tmp_path / "hospital").mkdir()
    return dicom_settings(migrated_url, tmp_path, ftp_password=PASSWORD)


def test_it_is_off_by_default_and_pulls_into_a_folder_of_the_watched_directory_when_on(
    settings: Settings, server: FtpBench, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="is off") as off:
        pull(settings, actor="test")
    assert off.value.remedy.startswith("fm-pipeline dicom configure --ftp-enabled ")
    changes = {"ftp_host": "127.0.0.1", "ftp_port": server.port, "ftp_username": USER, "ftp_security": "none"}
    configure(settings, changes, actor="test", now=NOW)
    with pytest.raises(RequestError, match="is off"):
        pull(settings, actor="test")
    configure(settings, {"ftp_enabled": True}, actor="test", now=NOW)
    fill(server.root)
    assert pull(settings, actor="test").pulled == 4
    assert files(tmp_path / "hospital" / "ftp") == files(server.root)
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT outcome FROM fm_pipeline.audit WHERE action = 'dicom_ftp' ORDER BY id")
        outcomes = Counter(outcome for (outcome,) in cursor.fetchall())
        cursor.execute("SELECT * FROM fm_pipeline.sync_configuration")
        assert PASSWORD not in str(cursor.fetchall())
        with only_one_pull(connection), pytest.raises(RequestError, match="Another pull"):
            pull(settings, actor="test")
    assert outcomes == {"started": 3, "refused": 2, "done": 1}


def test_nothing_is_pulled_under_a_mount_point_without_its_disk(
    settings: Settings, server: FtpBench, tmp_path: Path
) -> None:
    changes = {"ftp_host": "127.0.0.1", "ftp_port": server.port, "ftp_security": "none", "ftp_enabled": True}
    configure(settings, changes, actor="test", now=NOW)
    (tmp_path / "hospital").rmdir()
    with pytest.raises(RequestError, match="does not exist"):
        pull(settings, actor="test")
    assert not (tmp_path / "hospital").exists()
    (tmp_path / "hospital").mkdir()
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        remember_root(cursor, str(settings.hospital_data_path), "/disk")
        connection.commit()
    with pytest.raises(RequestError, match="not mounted where it was"):
        pull(settings, actor="test")
    assert list((tmp_path / "hospital").iterdir()) == []
