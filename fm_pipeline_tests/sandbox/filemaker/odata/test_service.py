"""Accounts, names, URLs and errors of the OData API, by plain HTTP. Numbers are those of the published facts."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
import requests

from fm_pipeline.sandbox.filemaker.call import Behaviour, ODataBehaviour
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.odata.conftest import RawOData
from fm_pipeline_tests.sandbox.filemaker.raw import PASSWORD
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in

UNLIKE = ODataBehaviour(
    encoded_options="refuse", long_names=True, answers_count=False, takes_bare_names=False, relative_links=True
)


@pytest.fixture
def unlike(store: Store, database: str) -> Iterator[RawOData]:
    """A client of a server that differs wherever servers are known to differ."""
    with running_stand_in(store, behaviour=Behaviour(version=22, odata=UNLIKE)) as server:
        client = RawOData(server.base_url, database)
        yield client
        client.session.close()


def test_the_service_lists_files_and_a_file_its_tables_occurrences_and_layouts(odata: RawOData) -> None:
    service = requests.get(f"{odata.base_url}/fmi/odata/v4", auth=("admin", PASSWORD), timeout=60).json()
    assert odata.database in [row["name"] for row in service["value"]]
    names = [row["name"] for row in odata.rows("")]
    assert {"Patients", "Notes", "pat_NOTES", "API_Patients", "Day/Night"} <= set(names)
    assert len(names) == len(set(names))


def test_every_request_needs_an_account_with_the_privilege(odata: RawOData, store: Store) -> None:
    assert requests.get(f"{odata.base_url}/fmi/odata/v4/{odata.database}", timeout=60).status_code == 401
    odata.account = "stranger"
    assert odata.failure("/Patients") == (401, "212")
    store.add_account(odata.database, ServerAccount("data_api_only", PASSWORD, privileges=["fmrest"]))
    odata.account = "data_api_only"
    assert odata.failure("/Patients") == (403, "9")
    odata.account = "admin"
    assert "Set-Cookie" not in odata.get("/Patients").headers


def test_an_account_is_locked_after_wrong_passwords_and_sees_no_field_that_is_hidden_from_it(
    odata: RawOData, stand_in: StandIn
) -> None:
    odata.account = "reception"
    assert "notes" not in odata.rows("/Patients")[0]
    assert odata.failure("/Patients?$filter=notes%20ne%20null") == (400, "8309")
    assert "notes" not in odata.get("/$metadata", Accept="application/json").json()[odata.database]["Patients_"]
    stand_in.faults(lockout_after=2)
    url = f"{odata.base_url}/fmi/odata/v4/{odata.database}"
    for code in ("212", "212", "214"):
        assert requests.get(url, auth=("admin", "wrong"), timeout=60).json()["error"]["code"] == code


def test_a_field_or_an_occurrence_can_be_missing(odata: RawOData, stand_in: StandIn) -> None:
    stand_in.faults(missing_fields={"API_Patients": ["name"]}, missing_layouts=["Narrow"])
    assert odata.failure("/API_Patients?$select=name") == (400, "8309")
    assert odata.failure("/Narrow") == (404, "-1010")
    assert len(odata.rows("/Patients?$select=name")) == 4


def test_a_file_is_named_with_or_without_suffix_but_a_dotted_one_with_it_only(odata: RawOData, store: Store) -> None:
    assert len(odata.rows("/Patients")) == len(RawOData(odata.base_url, odata.database + ".fmp12").rows("/Patients"))
    store.add_account("Stock_06.1", ServerAccount("admin", PASSWORD))
    assert RawOData(odata.base_url, "Stock_06.1.fmp12").get("").status_code == 200
    for name in ("Stock_06.1", "Nowhere"):
        refused = RawOData(odata.base_url, name).get("/x")
        assert (refused.status_code, refused.headers["Content-Type"]) == (501, "application/xml;charset=utf-8")
        assert ElementTree.fromstring(refused.content)[0].text == "802"  # noqa: S314 - our own answer


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("/Nowhere", (404, "-1010")),
        ("/Patients?$select=nothing", (400, "8309")),
        ("/Patients?$orderby=nothing", (400, "8309")),
        ("/Patients?$filter=nothing%20eq%20'x'", (400, "8309")),
        ("/Patients?$filter=weight%20eq%20'60'", (400, "8309")),
        ("/Patients?$filter=id%20eq%201", (400, "8309")),
        ("/Patients?$filter=n%C3%A4me%20eq%20'x'", (400, "8310")),
        ("/Patients?$filter=id+eq+'P1'", (400, "-1002")),
        ("/Patients?$filter=id%20eq", (400, "-1002")),
        ("/Patients?$filter=id", (400, "-1002")),
        ("/Patients?$top=many", (400, "-1002")),
        ("/Patients?$select=First%20Name", (400, "-1002")),
        ("/Patients?$nonsense=1", (400, "-1002")),
        ("/Patients?$apply=aggregate(weight%20with%20sum%20as%20all)", (400, "-1002")),
        ("/Patients(ROWID=99)", (404, "-1023")),
        ("/Patients(1)", (400, "-1002")),
    ],
)
def test_a_wrong_request_is_an_error_with_its_code(odata: RawOData, path: str, failure: tuple[int, str]) -> None:
    assert odata.failure(path) == failure


def test_deep_and_long_filters_are_errors_and_never_break_the_server(odata: RawOData) -> None:
    deep = "(" * 500 + "ROWID%20eq%201" + ")" * 500
    long = "%20or%20".join(["ROWID%20eq%201"] * 900)
    assert odata.failure(f"/Patients?$filter={deep}") == (400, "-1002")
    assert odata.failure(f"/Patients?$filter={long}") == (400, "-1002")
    assert odata.found("%20or%20".join(["ROWID%20eq%201"] * 390)) == ["P1"]
    assert odata.found(f"ROWID%20in%20({','.join(['1'] * 790)})") == ["P1"]
    assert odata.found("not%20(" * 12 + "ROWID%20gt%201" + ")" * 12) == ["P2", "P3", "P4"]
    assert odata.found("%20add%20".join(["1"] * 700) + "%20eq%20700%20and%20ROWID%20eq%201") == ["P1"]


def test_an_encoded_option_is_ignored_read_or_refused_as_the_server_is(odata: RawOData, unlike: RawOData) -> None:
    assert len(odata.rows("/Patients?%24top=1")) == 4
    assert unlike.failure("/Patients?%24top=1") == (400, "-1002")
    assert len(unlike.rows("/Patients?$top=1")) == 1
    assert len(odata.rows("/Patients?TOP=1&other=x")) == 1


def test_control_names_are_as_the_request_asks(odata: RawOData, unlike: RawOData) -> None:
    short, long = odata.get("/Patients?$count=true"), odata.get("/Patients?$count=true", OData_Version="4.0")
    assert (short.json()["@count"], long.json()["@odata.count"]) == (4, 4)
    assert (short.headers["OData-Version"], long.headers["OData-Version"]) == ("4.01", "4.0")
    assert unlike.get("/Patients?$count=true").json()["@odata.count"] == 4
    bare = odata.get("/Patients", Accept="application/json;odata.metadata=none").json()
    assert set(bare) == {"value"}
    assert "@id" not in bare["value"][0]


def test_a_name_that_is_no_word_is_quoted_and_bare_only_where_the_server_takes_it(
    odata: RawOData, unlike: RawOData
) -> None:
    for name in ("Day%2FNight", "With%20portals"):
        assert len(odata.rows(f"/%22{name}%22")) == len(unlike.rows(f"/%22{name}%22")) == 4
        assert len(odata.rows(f"/{name}")) == 4
        assert unlike.failure(f"/{name}") == (404, "-1010")


@pytest.mark.usefixtures("keyed")
def test_what_follows_a_relation_or_a_field_is_answered_or_refused(odata: RawOData) -> None:
    record = "/contacts('O''B%2F1')"
    assert odata.get(f"{record}/contact_visits/$count").text == "3"
    assert odata.get(f"{record}/contact_visits/$count?$filter=number%20gt%201").text == "2"
    rows = odata.rows(f"{record}/contact_visits?$filter=number%20gt%201&$orderby=number%20desc&$select=number")
    assert [row["number"] for row in rows] == [3, 2]
    for path in ("contact_visits/$ref", "contact_visits/$count/x", "id/x", "id/$value/x", "id/$value/$value"):
        assert odata.failure(f"{record}/{path}") == (400, "-1002")


def test_a_count_alone_is_answered_or_refused_as_the_server_is(odata: RawOData, unlike: RawOData) -> None:
    assert odata.get("/Patients/$count?$filter=weight%20gt%207").text == "3"
    assert unlike.failure("/Patients/$count") == (400, "-1002")


def test_metadata_tells_types_keys_and_repetitions_in_both_forms(odata: RawOData, keyed: str) -> None:
    text = odata.get("/$metadata").text
    assert f'Namespace="com.filemaker.odata.{keyed}.fmp12"' in text
    types = {one.get("Name"): one for one in ElementTree.fromstring(text).iter() if one.tag.endswith("EntityType")}  # noqa: S314
    kinds = {one.get("Name"): one.get("Type") for one in types["API_Patients_"] if one.tag.endswith("}Property")}
    assert kinds["born"] == "Edm.Date"
    assert [kinds[name] for name in ("weight", "seen", "wait", "photo")] == [
        "Edm.Decimal", "Edm.DateTimeOffset", "Edm.TimeOfDay", "Edm.Stream",
    ]  # fmt: skip
    assert [name for name, one in types.items() if any(part.tag.endswith("}Key") for part in one)] == [
        "contacts_", "visits_", "contact_visits_", "visits of contacts_",
    ]  # fmt: skip
    found = odata.get("/$metadata", Accept="application/json").json()
    assert found["@ServerVersion"] == "OData Engine 21.0.2"
    assert found[keyed]["Patients_"]["phone"]["@MaxRepetitions"] == 2
    assert found[keyed]["contacts_"]["$Key"] == ["id"]
    spelled = RawOData(odata.base_url, keyed + ".fmp12").get("/$metadata", Accept="application/json").json()
    assert f"{keyed}.fmp12" in spelled
    assert "contacts_" not in odata.get("/$metadata%23Patients", Accept="application/json").json()[keyed]


def test_what_cannot_be_had_of_a_relation_is_an_error_inside_the_row(odata: RawOData, keyed: str) -> None:
    for wanted, code in (("contact_visits($select=nothing)", "8309"), ("nobody", "-1010")):
        first, second = odata.rows(f"/contacts?$expand={wanted}")
        assert (first["id"], second["id"]) == ("O'B/1", "C2")
        assert [one["error"]["code"] for one in first["error"]] == [code]


def test_faults_strike_by_kind_of_request(odata: RawOData, stand_in: StandIn) -> None:
    stand_in.disturb("bad_gateway", of=["odata_rows"])
    assert odata.get("/$metadata").status_code == 200
    assert odata.get("/Patients").headers["Content-Type"].startswith("text/html")
    stand_in.disturb("code", code=303, of=["odata_rows"])
    assert odata.failure("/Patients") == (423, "303")
    stand_in.disturb("error_in_row")
    assert [set(row) == {"error"} for row in odata.rows("/Patients")] == [False, False, False, True]
    stand_in.disturb("fewer_rows")
    assert len(odata.rows("/Patients")) == 2
    stand_in.faults(hidden_records={"Patients": [2]})
    assert odata.get("/Patients/$count").text == "3"
    assert odata.failure("/Patients(ROWID=2)") == (404, "-1023")
    assert stand_in.counters()["requests"]["odata_rows"] == 4
