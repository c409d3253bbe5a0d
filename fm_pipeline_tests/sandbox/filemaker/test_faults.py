"""What can be made to go wrong, and what is counted."""

from __future__ import annotations

import threading

import pytest
import requests

from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import Raw
from fm_pipeline_tests.sandbox.filemaker.running import StandIn
from fm_pipeline_tests.support.waiting import wait_until


def get(client: Raw, timeout: float = 60) -> requests.Response:
    url = f"{client.base_url}/fmi/data/v1/{client.on('API_Patients', '/records')}"
    return client.session.get(url, headers={"Authorization": f"Bearer {client.token}"}, timeout=timeout)


@pytest.mark.parametrize(
    ("what", "status"), [("bad_gateway", 502), ("service_unavailable", 503), ("gateway_timeout", 504)]
)
def test_the_web_server_answers_in_html_for_so_many_requests(
    client: Raw, stand_in: StandIn, what: str, status: int
) -> None:
    stand_in.disturb(what, times=2)
    answers = [get(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers["Content-Type"].startswith("text/html")


def test_a_disturbance_without_end_lasts_until_it_is_healed(client: Raw, stand_in: StandIn) -> None:
    stand_in.disturb("bad_gateway", times=None, of=["records"])
    assert [get(client).status_code for _ in range(5)] == [502] * 5
    assert client.find("API_Patients", {"id": "*"}).end == (200, "0")
    stand_in.faults()
    assert get(client).status_code == 200


def test_a_disturbance_can_begin_later(client: Raw, stand_in: StandIn) -> None:
    stand_in.disturb("code", code=953, after=2, times=1)
    assert [client.records("API_Patients").code for _ in range(4)] == ["0", "0", "953", "0"]


def test_a_token_can_die_in_the_middle_of_paging(client: Raw, stand_in: StandIn) -> None:
    stand_in.faults(token_dies_after=2)
    assert [client.records("API_Patients").end for _ in range(3)] == [(200, "0"), (200, "0"), (401, "952")]
    client.login()
    assert client.records("API_Patients").end == (200, "0")


def test_a_slow_answer_outlasts_the_patience_of_a_client(client: Raw, stand_in: StandIn) -> None:
    stand_in.disturb("slow", seconds=3600, of=["records"])
    with pytest.raises(requests.ReadTimeout):
        get(client, timeout=0.05)
    assert get(client).status_code == 200


def test_a_connection_can_be_cut_in_the_middle_of_the_body(client: Raw, stand_in: StandIn) -> None:
    stand_in.disturb("cut")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        get(client)
    assert get(client).status_code == 200


@pytest.mark.parametrize("what", ["wrong_content", "not_json"])
def test_an_answer_can_be_something_else_than_json(client: Raw, stand_in: StandIn, what: str) -> None:
    stand_in.disturb(what)
    answer = get(client)
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()


def test_records_come_and_go_between_pages(client: Raw, stand_in: StandIn) -> None:
    stand_in.faults(
        between_pages=[
            {
                "after": 1,
                "do": [
                    {"delete": {"table": "Patients", "record_id": 1}},
                    {"insert": {"table": "Patients", "row": {"id": "P5"}}},
                    {"edit": {"table": "Patients", "record_id": 4, "row": {"name": "Changed"}}},
                ],
            }
        ]
    )
    first = client.records("API_Patients", _limit=2)
    second = client.records("API_Patients", _limit=2, _offset=3)
    assert first.column("id") == ["P1", "P2"]
    assert second.column("id") == ["P4", "P5"]  # P3 slipped between the pages
    assert second.column("name")[0] == "Changed"
    assert second.rows[0]["modId"] == "1"


def test_a_field_or_layout_can_be_missing(client: Raw, stand_in: StandIn) -> None:
    stand_in.faults(missing_fields={"API_Patients": ["name"]}, missing_layouts=["Narrow"])
    names = [field["name"] for field in client.request("GET", client.on("API_Patients")).response["fieldMetaData"]]
    assert "name" not in names
    assert "name" not in client.records("API_Patients").rows[0]["fieldData"]
    assert client.find("API_Patients", {"name": "Ada"}).end == (500, "102")
    assert client.records("Narrow").end == (500, "105")
    assert "Narrow" not in str(client.request("GET", f"databases/{client.database}/layouts").response)


def test_a_record_that_somebody_has_open_is_301(client: Raw, stand_in: StandIn) -> None:
    stand_in.faults(records_in_use={"Patients": [1]})
    assert client.edit("API_Patients", 1, {"name": "x"}).end == (500, "301")
    assert client.request("DELETE", client.on("API_Patients", "/records/1")).end == (500, "301")
    assert client.edit("API_Patients", 2, {"name": "x"}).end == (200, "0")


@pytest.mark.parametrize("wrong", [{"nonsense": 1}, {"disturbances": [{"what": "nonsense"}]}, {"between_pages": [{}]}])
def test_a_fault_that_does_not_exist_is_refused_and_changes_nothing(
    stand_in: StandIn, wrong: dict[str, object]
) -> None:
    stand_in.faults(session_limit=3)
    url = f"{stand_in.base_url}/_sandbox/faults"
    assert requests.put(url, json=wrong, timeout=10).status_code == 400
    assert requests.get(url, timeout=10).json()["session_limit"] == 3


def test_the_server_counts_what_clients_do(client: Raw, stand_in: StandIn) -> None:
    client.records("API_Patients")
    client.find("API_Patients", {"name": "Nobody"})
    counted = stand_in.counters()
    assert counted["requests"] == {"login": 1, "records": 1, "find": 1}
    assert counted["answers"] == {"0": 2, "401": 1}
    assert counted["open_sessions"] == 1
    assert counted["most_under_way"] == 1


def test_the_server_sees_how_many_requests_are_under_way_at_once(client: Raw, stand_in: StandIn) -> None:
    stand_in.disturb("slow", seconds=3600, times=3)

    def ask() -> None:
        own = Raw(client.base_url, client.database, token=client.token)
        own.records("API_Patients")
        own.session.close()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: stand_in.counters()["under_way"] == 3)
    stand_in.faults()
    for thread in threads:
        thread.join()
    counted = stand_in.counters()
    assert (counted["under_way"], counted["most_under_way"]) == (0, 3)


def test_filling_says_which_field_does_not_exist(store: Store, database: str) -> None:
    with pytest.raises(KeyError, match="Patients has no field nowhere"):
        store.insert(database, "Patients", [{"id": "P5"}, {"nowhere": 1}])
    assert store.insert(database, "Patients", []) == 0
