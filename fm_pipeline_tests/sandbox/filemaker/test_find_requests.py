"""Finds: statements 39 to 44, and every find operator."""

from __future__ import annotations

from typing import Any

import pytest

from fm_pipeline.sandbox.filemaker.call import Behaviour
from fm_pipeline.sandbox.filemaker.data import find_text
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import Raw
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in

NOTHING: list[str] = []


def found(client: Raw, *query: dict[str, Any], **more: Any) -> list[str]:
    """The ids of what a find finds."""
    answer = client.find("API_Patients", *query, **more)
    return NOTHING if answer.code == "401" else answer.column("id")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("Ada", ["P1", "P4"]),
        ("ada", ["P1", "P4"]),  # letter case does not matter
        ("lov", ["P1"]),  # the beginning of a word
        ("lace", NOTHING),  # not its end
        ("hopper grace", ["P2"]),  # in any order
        ("=ad", NOTHING),  # a whole word
        ("=ada", ["P1", "P4"]),
        ("==ada", NOTHING),  # the whole field
        ("==ada adams", ["P4"]),
        ('=="ada adams"', ["P4"]),
        ("==ada*", ["P1", "P4"]),
        ("*lace", ["P1"]),
        ("*opp*", ["P2"]),
        ("A@ams", ["P4"]),
        ("@da", ["P1", "P4"]),
        ("M@da", NOTHING),
        ('"Ada A"', ["P4"]),  # a phrase from the start of a word
        ('"da A"', NOTHING),
        ("*", ["P1", "P2", "P3", "P4"]),
        ("<Grace", ["P1", "P4"]),
        (">Grace Hopper", ["P3"]),
        ("≥Grace Hopper", ["P2", "P3"]),
        (">=Grace Hopper", ["P2", "P3"]),
        ("<=Ada Lovelace", ["P1", "P4"]),
        ("Ada B...Grace Hopper", ["P1", "P2"]),
        ("~ada", ["P1", "P4"]),
    ],
)
def test_text_is_found(client: Raw, request_: str, expected: list[str]) -> None:  # 39
    assert found(client, {"name": request_}) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("60", ["P1"]),
        ("==60", ["P1"]),
        ("==*0", ["P1"]),
        ("*kg", ["P2"]),
        ("7*", ["P3"]),
        ("12", ["P2"]),  # the numeric part of "12 kg"
        ("<12", ["P3"]),
        ("≤12", ["P2", "P3"]),
        (">7.5", ["P1", "P2"]),
        ("7...12", ["P2", "P3"]),
        ("7..12", ["P2", "P3"]),
        ("=", ["P4"]),
        ("*", ["P1", "P2", "P3"]),
    ],
)
def test_numbers_are_found_as_numbers(client: Raw, request_: str, expected: list[str]) -> None:  # 39
    assert found(client, {"weight": request_}) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("12/10/1815", ["P1"]),
        ("12/1815", ["P1"]),
        ("1906", ["P2"]),
        ("<1/1/1900", ["P1"]),
        (">1815", ["P2"]),
        ("12/9/1906...12/10/1906", ["P2"]),
        ("?", ["P3"]),
        ("=", ["P4"]),
    ],
)
def test_dates_are_found_as_dates(client: Raw, request_: str, expected: list[str]) -> None:  # 39
    assert found(client, {"born": request_}) == expected


def test_dates_of_a_query_follow_dateformats(client: Raw) -> None:
    assert found(client, {"born": "1815-12-10"}, dateformats=2) == ["P1"]
    assert found(client, {"born": "10/12/1815"}, dateformats=1) == ["P1"]
    assert found(client, {"born": "1815-12"}, dateformats="2") == ["P1"]


def test_a_text_that_is_no_date_cannot_be_searched_in_a_date_field(client: Raw) -> None:
    assert client.find("API_Patients", {"born": "yesterday"}).end == (500, "500")
    assert client.find("API_Patients", {"wait": "soon"}).end == (500, "501")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("3/1/2024", ["P1", "P2"]),
        ("3/1/2024 09:30:00", ["P1"]),
        (">3/1/2024", ["P3"]),
        ("<=3/1/2024", ["P1", "P2"]),
        ("≤3/1/2024", ["P1", "P2"]),
        ("≥3/2/2024", ["P3"]),
        (">3/1/2024 09:30", ["P2", "P3"]),
        ("3/1/2024 5:00 PM...3/2/2024", ["P2", "P3"]),
    ],
)
def test_a_day_stands_for_all_its_timestamps(client: Raw, request_: str, expected: list[str]) -> None:
    assert found(client, {"seen": request_}) == expected


def test_two_slashes_are_today(client: Raw, stand_in: StandIn) -> None:  # 39
    stand_in.hold_clock("2024-03-02T12:00:00")
    assert found(client, {"seen": "//"}) == ["P3"]
    assert found(client, {"seen": "<//"}) == ["P1", "P2"]


def test_an_exclamation_mark_finds_duplicates(client: Raw, store: Store) -> None:  # 39
    store.insert(client.database, "Patients", [{"id": "p1"}, {"id": ""}, {"id": ""}])
    assert found(client, {"id": "!"}) == ["P1", "p1"]


def test_an_operator_behind_a_backslash_or_in_quotation_marks_is_a_character(client: Raw, store: Store) -> None:
    store.insert(client.database, "Patients", [{"id": "a", "name": "joey@abc.net"}, {"id": "b", "name": "joeyxabc"}])
    assert found(client, {"name": "joey@abc"}) == ["b"]
    assert found(client, {"name": r"joey\@abc.net"}) == ["a"]
    assert found(client, {"name": '"joey@abc.net"'}) == ["a"]


@pytest.mark.parametrize(("request_", "expected"), [("#", ["3"]), ("##", ["30"]), ("#3", ["53"])])
def test_a_number_sign_is_one_digit(request_: str, expected: list[str]) -> None:  # 39
    (pattern,) = find_text.words(request_, whole=False)
    assert [text for text in ("3", "30", "53", "300") if find_text.matches(pattern, text)][:1] == expected
    assert not find_text.matches(pattern, "300")


def test_keys_are_anded_objects_ored_and_omit_subtracts(client: Raw) -> None:  # 39
    assert found(client, {"name": "Ada", "weight": "60"}) == ["P1"]
    assert found(client, {"name": "Hopper"}, {"name": "Anning"}) == ["P2", "P3"]
    assert found(client, {"name": "Ada"}, {"weight": "60", "omit": "true"}) == ["P4"]
    assert found(client, {"weight": ">8", "omit": "true"}) == ["P3", "P4"]
    assert found(client, {"name": "Ada", "omit": "false"}) == ["P1", "P4"]


def test_no_match_is_401_with_http_500(client: Raw) -> None:  # 40
    answer = client.find("API_Patients", {"name": "Nobody"})
    assert answer.end == (500, "401")
    assert answer.message == "No records match the request"


@pytest.mark.parametrize("kind", [int, str])
def test_limit_and_offset_may_be_text_or_number(client: Raw, kind: type) -> None:  # 41
    assert found(client, {"id": "*"}, offset=kind(2), limit=kind(2)) == ["P2", "P3"]


def test_a_find_counts_the_found_set(client: Raw) -> None:
    info = client.find("API_Patients", {"name": "Ada"}, limit=1).response["dataInfo"]
    assert (info["totalRecordCount"], info["foundCount"], info["returnedCount"]) == (4, 2, 1)


@pytest.mark.parametrize("name", ["_limit", "_offset", "_sort"])
def test_an_underscore_in_the_body_is_960(client: Raw, name: str) -> None:  # 42
    answer = client.find("API_Patients", {"id": "*"}, **{name: "1"})
    assert answer.end == (400, "960")
    assert answer.message == f"Unknown parameter(s): {name}"


def test_a_find_without_query_is_960_and_without_criteria_400(client: Raw) -> None:  # 43
    path = client.on("API_Patients", "/_find")
    assert client.request("POST", path, json={"limit": 1}).end == (400, "960")
    assert client.request("POST", path, json={"query": {"id": "1"}}).end == (400, "960")
    assert client.request("POST", path, json={"query": []}).end == (500, "400")
    assert client.find("API_Patients", {"id": ""}).end == (500, "400")


def test_a_field_that_is_not_shown_can_be_found_by(client: Raw, store: Store) -> None:  # 44
    store.insert(client.database, "Patients", [{"id": "P5", "hidden": "treasure"}])
    assert found(client, {"hidden": "treasure"}) == ["P5"]
    assert client.find("API_Patients", {"nowhere": "x"}).end == (500, "102")


def test_a_stricter_server_knows_only_the_fields_of_the_layout(store: Store, database: str) -> None:  # 44
    with running_stand_in(store, behaviour=Behaviour(finds_fields_off_layout=False)) as strict:
        client = Raw(strict.base_url, database)
        client.login()
        assert client.find("API_Patients", {"hidden": "treasure"}).end == (500, "102")
        client.session.close()


def test_a_related_field_can_be_found_by(client: Raw) -> None:
    assert found(client, {"pat_NOTES::text": '"note 7"'}) == ["P1"]
    assert client.find("API_Patients", {"nowhere::text": "x"}).end == (500, "102")


def test_an_integer_in_a_query_is_read_as_its_text(client: Raw) -> None:
    assert found(client, {"weight": 60}) == ["P1"]
    assert client.find("API_Patients", {"weight": None}).end == (400, "1708")
    assert client.find("API_Patients", {"weight": [1]}).end == (400, "960")


def test_a_found_set_can_be_sorted(client: Raw) -> None:
    order = [{"fieldName": "name", "sortOrder": "descend"}]
    assert found(client, {"id": "*"}, sort=order) == ["P3", "P2", "P1", "P4"]
