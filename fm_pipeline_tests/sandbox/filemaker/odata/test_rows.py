"""Rows, pages, filters and values of the OData API, by plain HTTP."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from fm_pipeline.sandbox.filemaker.call import Behaviour, ODataBehaviour
from fm_pipeline.sandbox.filemaker.data.schema import StoredContainerFile
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.odata.conftest import RawOData
from fm_pipeline_tests.sandbox.filemaker.raw import Raw
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in
from fm_pipeline_tests.support.pictures import picture


def test_a_row_has_null_iso_dates_wall_clock_first_repetitions_and_no_container(
    odata: RawOData, store: Store, database: str
) -> None:
    store.insert(database, "Patients", [{"id": "P5", "phone": "1", "phone(2)": "2", "notes": "a\nb", "wait": "1:02"}])
    store.edit(database, "Patients", 5, {"photo": StoredContainerFile(picture(1))})
    first, last = odata.rows("/API_Patients?$filter=ROWID%20eq%201%20or%20ROWID%20eq%205")
    assert (first["born"], first["seen"], first["weight"]) == ("1815-12-10", "2024-03-01T09:30:00Z", 60)
    assert (last["born"], last["weight"], last["phone"], last["notes"], last["wait"]) == (
        None, None, "1", "a\rb", "01:02:00",
    )  # fmt: skip
    assert "photo" not in first
    assert "ROWID" not in first
    assert [row["weight"] for row in odata.rows("/Patients?$select=weight")][1:3] == [12, 7.5]


def test_selected_columns_may_be_quoted_and_the_record_id_is_one_of_them(odata: RawOData) -> None:
    rows = odata.rows("/Patients?$select=ROWID,ROWMODID,%22name%22&$orderby=ROWID%20desc&$top=1")
    assert rows == [{"ROWID": 4, "ROWMODID": 0, "name": "Ada Adams"}]
    special = odata.get("/Patients", Prefer="fmodata.include-specialcolumns").json()["value"][0]
    assert special["ROWID"] == 1


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("id eq 'P1'", ["P1"]),
        ("id eq 'p1'", []),
        ("id ne 'P1'", ["P2", "P3", "P4"]),
        ("id in ('P1','P3')", ["P1", "P3"]),
        ("born eq null", ["P3", "P4"]),
        ("weight ne null and not (weight lt 60)", ["P1"]),
        ("weight le 12 or id eq 'P4'", ["P2", "P3", "P4"]),
        ("weight add 1 mul 2 eq 62", ["P1"]),
        ("(weight add 1) mul 2 eq 122", ["P1"]),
        ("born ge 1815-12-10 and born lt 1906-12-09", ["P1"]),
        ("seen gt 2024-03-01T09:30:00Z", ["P2", "P3"]),
        ("seen eq 2024-03-01T09:30:00", ["P1"]),
        ("seen eq 2024-03-01T09:30:00.000Z", ["P1"]),
        ("year(seen) eq 2024 and day(seen) eq 2", ["P3"]),
        ("startswith(name,'Ada')", ["P1", "P4"]),
        ("endswith(tolower(name), 'ER')", []),
        ("endswith(toupper(name), 'ER')", ["P2"]),
        ("contains(\"name\",'a A')", ["P4"]),
        ("length(name) eq 9", ["P4"]),
        ("substring(name,0,4) eq 'Mary' or substring(name,4) eq 'Adams'", ["P3", "P4"]),
        ("concat(id,name) eq 'P3Mary Anning'", ["P3"]),
        ("ROWID gt 1 and ROWID le 3", ["P2", "P3"]),
        ("ROWMODID eq 1", []),
        ("id eq ''", []),
    ],
)
def test_a_filter_finds(odata: RawOData, wanted: str, expected: list[str]) -> None:
    assert odata.found(quote(wanted, safe="'(),")) == expected


def test_an_apostrophe_in_a_filter_is_doubled(odata: RawOData, store: Store, database: str) -> None:
    store.insert(database, "Patients", [{"id": "O'B/1"}])
    assert odata.found("id%20eq%20'O''B/1'") == odata.found("id%20eq%20%27O%27%27B%2F1%27") == ["O'B/1"]


def walk(client: RawOData, path: str, **headers: str) -> list[list[str]]:
    """The ids of each page, by next links."""
    pages: list[list[str]] = []
    url = path
    while url and len(pages) < 10:
        found: dict[str, Any] = client.get(url, **headers).json()
        pages.append([row["id"] for row in found["value"]])
        link = found.get("@nextLink", "")
        url = link if link.startswith("http") or not link else f"/{link}"
    return pages


def test_a_page_size_that_the_client_prefers_brings_next_links(odata: RawOData) -> None:
    assert walk(odata, "/Patients", Prefer="odata.maxpagesize=3") == [["P1", "P2", "P3"], ["P4"]]
    assert walk(odata, "/Patients?$top=2&$skip=1") == [["P2", "P3"]]
    counted = odata.get("/Patients?$count=true&$top=1&$filter=weight%20gt%200").json()
    assert (counted["@count"], len(counted["value"]), "@nextLink" in counted) == (3, 1, False)
    exact = odata.get("/Patients?$count=true&$select=weight", Accept="application/json;IEEE754Compatible=true").json()
    assert (exact["@count"], exact["value"][2]["weight"]) == ("4", "7.5")


@pytest.mark.parametrize(
    ("behaviour", "pages"),
    [
        (ODataBehaviour(page_limit=2), [["P1", "P2"], ["P4", "P5"]]),
        (ODataBehaviour(page_limit=2, relative_links=True), [["P1", "P2"], ["P4", "P5"]]),
        (ODataBehaviour(page_limit=2, links_by="position"), [["P1", "P2"], ["P3", "P4"], ["P5"]]),
    ],
)
def test_an_answer_ends_at_its_limit_and_a_page_by_skip_loses_what_slips(
    store: Store, database: str, behaviour: ODataBehaviour, pages: list[list[str]]
) -> None:
    with running_stand_in(store, behaviour=Behaviour(odata=behaviour)) as server:
        client = RawOData(server.base_url, database)
        steps = [
            {"delete": {"table": "Patients", "record_id": 1}},
            {"insert": {"table": "Patients", "row": {"id": "P5"}}},
        ]
        server.faults(between_pages=[{"after": 1, "do": steps}])
        assert walk(client, "/Patients?$top=100000") == pages
        client.session.close()


def test_pages_by_the_last_record_id_lose_nothing(odata: RawOData, stand_in: StandIn) -> None:
    stand_in.faults(between_pages=[{"after": 1, "do": [{"delete": {"table": "Patients", "record_id": 1}}]}])
    path = "/Patients?$select=ROWID,id&$orderby=ROWID%20asc&$top=2&$filter=ROWID%20gt%20"
    first = odata.rows(f"{path}0")
    assert [row["id"] for row in first + odata.rows(f"{path}{first[-1]['ROWID']}")] == ["P1", "P2", "P3", "P4"]


@pytest.mark.parametrize("kind", ["question_mark", "no_leading_zero", "control_characters", "nul"])
def test_a_value_can_make_the_answer_invalid_every_time(
    odata: RawOData, client: Raw, stand_in: StandIn, kind: str
) -> None:
    broken = {"table": "Patients", "record_id": 2, "field": "weight", "as": kind}
    stand_in.faults(broken_values=[broken])
    for _ in range(2):
        with pytest.raises(json.JSONDecodeError):
            json.loads(odata.get("/API_Patients").content)
    assert len(odata.rows("/API_Patients?$filter=ROWID%20gt%202")) == 2
    assert len(odata.rows("/API_Patients?$select=id,ROWID")) == 4
    url = f"{client.base_url}/fmi/data/vLatest/{client.on('API_Patients', '/records')}"
    answer = client.session.get(url, headers={"Authorization": f"Bearer {client.token}"}, timeout=60)
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.content)
    assert client.record("API_Patients", 1).code == "0"
    stand_in.faults(broken_values=[{**broken, "door": "odata"}])
    assert client.records("API_Patients").code == "0"


def test_one_record_is_named_by_its_key_or_its_record_id(odata: RawOData, keyed: str) -> None:
    for key in ("'O''B/1'", "'O'B/1'", "%27O%27%27B%2F1%27", "ROWID=1"):
        assert odata.get(f"/contacts({key})").json()["First Name"] == "Ada", key
    for key in ("2", "'2'", "ROWID=2"):
        assert odata.get(f"/visits({key})").json()["number"] == 2
    assert odata.failure("/contacts('nobody')") == (404, "-1023")
    first = odata.get("/contacts?$top=1").json()["value"][0]
    assert odata.get(first["@editLink"]).json()["id"] == "O'B/1"
    assert odata.get("/contacts('C2')/%22First%20Name%22").json()["value"] == "Grace"
    assert odata.get("/contacts('C2')/First%20Name/$value").text == "Grace"
    assert odata.get("/Patients(ROWID=1)/phone").json()["value"] == [None, None]


def test_a_container_is_read_by_its_raw_value_with_any_type_accepted(odata: RawOData, keyed: str) -> None:
    path = "/contacts(ROWID=1)/photo/$value"
    file = odata.get(path, Accept="*/*")
    assert (file.content, file.headers["Content-Type"]) == (picture(1), "image/jpeg")
    assert file.headers["Content-Disposition"] == "attachment; filename*=UTF-8''face%20%C3%A9.jpg"
    name = odata.get(path, Accept="application/octet-stream")
    assert (name.text, name.headers["Content-Type"]) == ("face é.jpg", "text/plain;charset=utf-8")
    assert odata.get("/contacts('C2')/photo/$value").status_code == 204
