"""Values in answers: statements 45 to 50."""

from __future__ import annotations

from typing import Any

import pytest

from fm_pipeline.sandbox.filemaker.call import Behaviour
from fm_pipeline.sandbox.filemaker.data import values
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import Raw
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in


def test_empty_fields_are_empty_text_whatever_their_type(client: Raw) -> None:  # 45
    data = client.record("API_Patients", 4).rows[0]["fieldData"]
    assert {data[name] for name in ("born", "weight", "seen", "wait", "notes", "photo")} == {""}


@pytest.mark.parametrize(
    ("stored", "shown"),
    [("60", 60), ("7.5", 7.5), (".5", 0.5), ("-3", -3), ("007", 7), ("12 kg", "12 kg"), ("1,5", "1,5"), ("n/a", "n/a")],
)
def test_a_number_is_a_json_number_only_if_nothing_else_is_in_it(stored: str, shown: Any) -> None:  # 46
    assert values.number(stored) == shown
    assert type(values.number(stored)) is type(shown)


def test_numbers_arrive_as_numbers_or_as_the_text_that_was_entered(client: Raw) -> None:  # 46
    assert client.records("API_Patients").column("weight") == [60, "12 kg", 7.5, ""]


@pytest.mark.parametrize(
    ("dateformats", "born", "seen"),
    [
        (None, "12/10/1815", "03/01/2024 09:30:00"),
        (0, "12/10/1815", "03/01/2024 09:30:00"),
        (1, "10/12/1815", "01/03/2024 09:30:00"),
        (2, "1815-12-10", "2024-03-01T09:30:00"),
    ],
)
def test_dates_follow_dateformats(client: Raw, dateformats: int | None, born: str, seen: str) -> None:  # 47
    data = client.record("API_Patients", 1, dateformats=dateformats).rows[0]["fieldData"]
    assert (data["born"], data["seen"]) == (born, seen)


def test_dateformats_other_than_0_1_2_is_960(client: Raw) -> None:
    assert client.records("API_Patients", dateformats="iso").end == (400, "960")


def test_a_server_before_2023_does_not_know_dateformats(store: Store, database: str) -> None:
    with running_stand_in(store, behaviour=Behaviour(version=19)) as old:
        client = Raw(old.base_url, database)
        client.login()
        answer = client.records("API_Patients", dateformats=2)
        assert (answer.end, answer.message) == ((400, "960"), "Unknown parameter(s): dateformats")
        assert client.records("API_Patients").column("born")[0] == "12/10/1815"
        client.session.close()


@pytest.mark.parametrize("text", ["?", "31/31/2020", "3/4/20", "about 1950", "2024-02-30"])
def test_unreadable_text_in_a_date_field_stays_as_it_was(client: Raw, store: Store, text: str) -> None:
    store.insert(client.database, "Patients", [{"id": "odd", "born": text, "seen": f"{text} 10:00"}])
    data = client.record("API_Patients", 5, dateformats=2).rows[0]["fieldData"]
    assert (data["born"], data["seen"]) == (text, f"{text} 10:00")


@pytest.mark.parametrize(
    ("given", "kept"), [("9:05", "09:05:00"), ("1:30 PM", "13:30:00"), ("30:15:00", "30:15:00"), ("noon", "noon")]
)
def test_a_time_may_be_longer_than_a_day(client: Raw, store: Store, given: str, kept: str) -> None:
    store.insert(client.database, "Patients", [{"id": "P5", "wait": given}])
    assert client.record("API_Patients", 5).column("wait") == [kept]


def test_line_breaks_are_carriage_returns(client: Raw) -> None:  # 48
    client.create("API_Patients", {"notes": "one\ntwo\r\nthree\rfour"})
    assert client.record("API_Patients", 5).column("notes") == ["one\rtwo\rthree\rfour"]


def test_a_field_without_privilege_shows_no_access(visitor: Raw) -> None:  # 49
    visitor.login("reception")
    assert visitor.record("API_Patients", 1).column("notes") == ["<No Access>"]
    assert visitor.edit("API_Patients", 1, {"notes": "x"}).end == (500, "201")
    assert visitor.find("API_Patients", {"notes": "*"}).end == (500, "401")


def test_null_cannot_be_written(client: Raw) -> None:  # 50
    assert client.edit("API_Patients", 1, {"name": None}).end == (400, "1708")
    assert client.record("API_Patients", 1).column("name") == ["Ada Lovelace"]
