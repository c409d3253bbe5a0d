"""Whatever answers on an FTP server's port: a pull ends with what it pulled, or with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from fm_pipeline.dicom.ftp import connection as ftp_connection
from fm_pipeline.dicom.ftp import retrying_session as ftp_patience
from fm_pipeline.dicom.ftp import session as ftp_session
from fm_pipeline.errors import FtpError
from fm_pipeline_tests.dicom.ftp.replies import any_answers, any_data, any_end, pull_once
from fm_pipeline_tests.support.ftp.pulls import pulled
from fm_pipeline_tests.support.ftp.scripted import GREETING, Answers, Ends, scripted_ftp


@hypothesis_settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=any_answers, data=any_data, ends=any_end)
def test_any_reply_and_any_cut_ends_in_a_report_or_a_sentence(
    answers: Answers, data: dict[str, bytes], ends: Ends, ledger: str
) -> None:
    pull_once(ledger, answers, data, ends)


@pytest.mark.parametrize(
    ("answers", "told", "hint"),
    [
        ({GREETING: b"SSH-2.0-OpenSSH_9.2\r\n"}, "is not an FTP server", "SFTP"),
        ({GREETING: b"HTTP/1.1 400 Bad Request\r\n\r\n"}, "is not an FTP server", "--ftp-port"),
        ({GREETING: b"554 not from there\r\n"}, "refuses the connection .reply 554", "let this machine in"),
        ({GREETING: b"421 too many\r\n"}, "5 attempts in a row brought nothing .reply 421", "no more connections"),
        ({"USER": b"421 cleartext sessions are not accepted\r\n"}, "lets nobody in without TLS", "--ftp-security tls"),
        ({"USER": b"534 policy\r\n"}, "lets nobody in without TLS", "--ftp-security tls"),
        ({"PASS": b"530 Login authentication failed\r\n"}, "refused the login .reply 530", "FTP_PASSWORD"),
        ({"PASV": b"227 (127,0,0,1,999,9)\r\n"}, "a reply that is not FTP's", "Check the server"),
        ({"PASV": b"227 (127,0,0,1,0,1)\r\n"}, "no data connection", "firewalls"),
        ({"PASV": b"227 here\r\n"}, "reply 227", "Check the server"),
        ({"MLSD": b"425 cannot open\r\n"}, "reply 425", "--no-ftp-passive"),
        ({"MLSD": b"522 session reuse required\r\n"}, "refuses the data connection .* .reply 522", "--ftp-security"),
        ({"CWD": b"550 no such folder\r\n"}, "does not list the configured folder", "--ftp-path"),
    ],
)
def test_what_answers_is_told_in_a_sentence(
    answers: Answers, told: str, hint: str, ledger: str, tmp_path: Path
) -> None:
    with scripted_ftp(answers) as server, pytest.raises(FtpError, match=told) as error:
        pulled(ledger, server, tmp_path, timeout_seconds=3)
    assert hint in error.value.remedy


def test_a_folder_is_not_taken_for_unreadable_by_its_name_in_a_reply(ledger: str, tmp_path: Path) -> None:
    """FileZilla Server repeats the path, and a hospital may have a folder of CDs that it was unable to read."""
    done = b'226 Successfully transferred "/CDs unable to read"\r\n'
    with scripted_ftp({"MLSD done": done, "RETR done": done}) as server:
        assert pulled(ledger, server, tmp_path / "here").pulled == 1
    with scripted_ftp({"MLSD done": done}, data={"MLSD": b""}) as server:
        assert pulled(ledger, server, tmp_path / "here").complete


def test_a_server_that_says_nothing_is_given_up(ledger: str, tmp_path: Path) -> None:
    with scripted_ftp({GREETING: "silent"}) as server, pytest.raises(FtpError, match=r"no answer within 0\.2 s"):
        pulled(ledger, server, tmp_path, timeout_seconds=0.2)


def test_a_reply_or_a_listing_without_an_end_is_given_up(
    ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ftp_connection, "LONGEST_REPLY", 100)
    monkeypatch.setattr(ftp_session, "LARGEST_LISTING", 100)
    with scripted_ftp({"FEAT": b"211-\r\n" + b" more\r\n" * 20}) as server, pytest.raises(FtpError, match="not FTP's"):
        pulled(ledger, server, tmp_path)
    line = b"type=file;size=3;modify=20251122103000; scan%d.dcm\r\n"
    many = {"MLSD": b"".join(line % number for number in range(10))}
    with scripted_ftp({}, many) as server, pytest.raises(FtpError, match="not FTP's"):
        pulled(ledger, server, tmp_path)


def test_a_session_that_the_server_has_ended_is_taken_up_again(ledger: str, tmp_path: Path) -> None:
    with scripted_ftp({"RETR": b"530 log in first\r\n"}) as server:
        report = pulled(ledger, server, tmp_path)
    assert (report.skipped, server.commands.count("USER")) == ({"cut_short": 1}, 5)


@pytest.mark.parametrize("silent", ["reply", "data"])
def test_a_file_that_the_server_holds_back_is_busy_there(silent: str, ledger: str, tmp_path: Path) -> None:
    answers: Answers = {"RETR": "silent"} if silent == "reply" else {}
    data = {"RETR": None} if silent == "data" else {}
    with scripted_ftp(answers, data) as server:
        report = pulled(ledger, server, tmp_path, timeout_seconds=1)
    assert (report.skipped, server.commands.count("RETR")) == ({"busy_on_server": 1}, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_replies_to_no_retr_at_all_is_given_up(
    ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ftp_patience, "MOST_WITHOUT_REPLY", 3)
    line = b"type=file;size=3;modify=20251122103000; scan%d.dcm\r\n"
    many = {"MLSD": b"".join(line % number for number in range(5))}
    with scripted_ftp({"RETR": "silent"}, many) as server, pytest.raises(FtpError, match=r"no answer within 0\.5 s"):
        pulled(ledger, server, tmp_path, timeout_seconds=0.5)
    assert server.commands.count("RETR") == 3
