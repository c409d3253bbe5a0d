"""Sessions: statements 1 to 16 of the Data API's behaviour."""

from __future__ import annotations

import re

import pytest

from fm_pipeline.sandbox.filemaker.call import Behaviour
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.conftest import fill
from fm_pipeline_tests.sandbox.filemaker.raw import Raw
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in


def test_the_token_is_in_the_header_and_in_the_body(visitor: Raw) -> None:  # 1
    answer = visitor.login()
    assert answer.end == (200, "0")
    assert answer.headers["X-FM-Data-Access-Token"] == answer.response["token"]
    assert re.fullmatch(r"[0-9a-f]{52}", answer.response["token"])


@pytest.mark.parametrize("version", ["v1", "v2", "vLatest"])
def test_every_version_of_the_url_works(visitor: Raw, version: str) -> None:  # 2
    visitor.version = version
    assert visitor.login().end == (200, "0")
    assert visitor.records("API_Patients").end == (200, "0")


def test_an_unknown_version_of_the_url_is_not_found(visitor: Raw) -> None:
    visitor.version = "v9"
    assert visitor.login().end == (404, "1630")


def test_login_works_with_a_slash_at_the_end(visitor: Raw) -> None:  # 3
    answer = visitor.request("POST", f"databases/{visitor.database}/sessions/", auth=("admin", "right"), json={})
    assert answer.end == (200, "0")


def test_login_takes_an_empty_list_of_data_sources(visitor: Raw) -> None:  # 4
    assert visitor.login(json={"fmDataSource": []}).end == (200, "0")


def test_login_works_without_a_body(visitor: Raw) -> None:  # 5
    assert visitor.login(json=None).end == (200, "0")


def test_a_strict_server_wants_a_body_at_login(store: Store, database: str) -> None:  # 5
    with running_stand_in(store, behaviour=Behaviour(login_needs_body=True)) as strict:
        visitor = Raw(strict.base_url, database)
        assert visitor.login(json=None).status in (400, 415)
        assert visitor.login().end == (200, "0")
        visitor.session.close()


@pytest.mark.parametrize(("name", "password"), [("admin", "wrong"), ("nobody", "right")])
def test_a_wrong_account_or_password_is_212_without_token(visitor: Raw, name: str, password: str) -> None:  # 6
    answer = visitor.login(name, password)
    assert answer.end == (401, "212")
    assert answer.response == {}
    assert "X-FM-Data-Access-Token" not in answer.headers


def test_login_without_authorization_is_10(visitor: Raw) -> None:  # 7
    answer = visitor.login(auth=None)
    assert answer.end == (401, "10")
    assert answer.message == "HTTP Authorization header or OAuth headers are missing."


def test_login_to_an_unknown_file_is_802(visitor: Raw) -> None:  # 8
    visitor.database = "Nowhere"
    assert visitor.login().end == (500, "802")


def test_a_file_may_be_named_with_its_suffix(visitor: Raw) -> None:
    visitor.database, plain = f"{visitor.database}.fmp12", visitor.database
    assert visitor.login().end == (200, "0")
    read = visitor.records("API_Patients")
    assert (len(read.rows), read.response["dataInfo"]["database"]) == (4, plain)
    visitor.database = plain
    assert visitor.records("API_Patients").end == (200, "0")


def test_an_account_without_fmrest_is_9(visitor: Raw) -> None:  # 9
    assert visitor.login("no_api").end == (500, "9")


@pytest.mark.parametrize("header", ["Bearer 0000", "Basic YTpi", ""])
def test_a_call_without_valid_token_is_952(visitor: Raw, header: str) -> None:  # 10
    answer = visitor.request("GET", visitor.on("API_Patients", "/records"), headers={"Authorization": header})
    assert answer.end == (401, "952")
    assert answer.message == "Invalid FileMaker Data API token (*)"


def test_a_token_dies_fifteen_minutes_after_its_last_call(client: Raw, stand_in: StandIn) -> None:  # 11
    stand_in.hold_clock("2026-03-01T09:00:00")
    client.login()
    for _ in range(3):
        stand_in.advance(minutes=14, seconds=59)
        assert client.records("API_Patients").end == (200, "0")
    stand_in.advance(minutes=15)
    assert client.records("API_Patients").end == (401, "952")


def test_logout_needs_no_header_and_ends_the_token(client: Raw) -> None:  # 12
    token, client.token = client.token, ""
    answer = client.request("DELETE", f"databases/{client.database}/sessions/{token}")
    assert (answer.end, answer.response) == ((200, "0"), {})
    client.token = token
    assert client.records("API_Patients").end == (401, "952")


def test_logout_of_an_unknown_token_is_952(visitor: Raw) -> None:  # 13
    assert visitor.request("DELETE", f"databases/{visitor.database}/sessions/0000").end == (401, "952")


def test_a_token_is_good_for_its_own_file_only(client: Raw, store: Store) -> None:  # 14
    fill(store, client.database + "Other")
    own = client.database
    client.database = own + "Other"
    assert client.records("API_Patients").end == (401, "952")
    client.database = own.upper()
    assert client.records("API_Patients").end == (401, "952")


def test_validate_session_says_that_the_session_is_in_use_and_keeps_it(client: Raw, stand_in: StandIn) -> None:  # 15
    stand_in.hold_clock("2026-03-01T09:00:00")
    client.login()
    stand_in.advance(minutes=14)
    assert client.request("GET", "validateSession").response == {"isSessionInUse": True}
    stand_in.advance(minutes=14)
    assert client.request("GET", "validateSession").end == (200, "0")


@pytest.mark.parametrize("code", [812, 956])
def test_one_session_too_many_is_refused(client: Raw, stand_in: StandIn, code: int) -> None:  # 16
    stand_in.faults(session_limit=1, session_limit_code=code)
    second = Raw(stand_in.base_url, client.database)
    assert second.login().end == (500, str(code))
    client.request("DELETE", f"databases/{client.database}/sessions/{client.token}")
    assert second.login().end == (200, "0")
    second.session.close()


def test_a_locked_account_is_214_also_with_the_right_password(visitor: Raw, stand_in: StandIn) -> None:
    stand_in.faults(lockout_after=2)
    assert [visitor.login("admin", "wrong").code for _ in range(3)] == ["212", "212", "214"]
    assert visitor.login().end == (401, "214")
    stand_in.faults()
    assert visitor.login().end == (200, "0")
