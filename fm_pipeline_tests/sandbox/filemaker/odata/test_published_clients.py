"""fms-odata-py against the stand-in: the main jobs of a client that other people published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fms_odata import FMSODataClient
from fms_odata.entity import EntityWriteOptions
from fms_odata_spec import FMODataError, FMScriptError, basic_auth

from fm_pipeline.sandbox.filemaker.data.schema import Script
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import PASSWORD
from fm_pipeline_tests.sandbox.filemaker.running import StandIn
from fm_pipeline_tests.support.pictures import picture


@pytest.fixture
def fms(stand_in: StandIn, keyed: str) -> Iterator[FMSODataClient]:
    """The client, as its own documentation shows."""
    with FMSODataClient(host=stand_in.base_url, database=keyed, token=basic_auth("admin", PASSWORD)) as client:
        yield client


def without_links(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("@")}


def test_fms_odata_py_lists_filters_counts_and_expands(fms: FMSODataClient) -> None:
    found = fms.from_("Patients").select("id", "name").orderby("name", "desc").top(2).skip(1).count().get()
    assert ([row["id"] for row in found.value], found.count) == (["P2", "P1"], 4)
    wanted = fms.from_("Patients").filter(lambda f: f.eq("name", "Ada Adams").or_(f.gt("weight", 20)))
    assert [row["id"] for row in wanted.select("id").get().value] == ["P1", "P4"]
    expanded = fms.from_("contacts").expand("contact_visits", lambda q: q.select("number").top(2)).get()
    assert [[visit["number"] for visit in row["contact_visits"]] for row in expanded.value] == [[1, 2], []]


def test_fms_odata_py_reads_one_record_and_one_field_by_key(fms: FMSODataClient) -> None:
    assert fms.from_("contacts").by_key("O'B/1").get()["First Name"] == "Ada"
    assert fms.from_("contacts").by_key("O'B/1").field_value("First Name") == "Ada"
    assert fms.from_("visits").by_key(2).get()["contact"] == "O'B/1"
    with pytest.raises(FMODataError) as missing:
        fms.from_("contacts").by_key("nobody").get()
    assert (missing.value.status, missing.value.code) == (404, "-1023")


def test_fms_odata_py_creates_updates_and_deletes(fms: FMSODataClient) -> None:
    made = fms.from_("contacts").create({"id": "C3", "First Name": "Mary"})
    assert without_links(made) == {"id": "C3", "First Name": "Mary"}
    entity = fms.from_("contacts").by_key("C3")
    assert entity.patch({"First Name": "Maria"}) is None
    whole = entity.patch({"First Name": "Marie"}, EntityWriteOptions(return_representation=True))
    assert whole["First Name"] == "Marie"
    entity.delete()
    with pytest.raises(FMODataError):
        entity.get()


def test_fms_odata_py_fills_reads_and_clears_a_container(fms: FMSODataClient) -> None:
    container = fms.from_("contacts").by_key("C2").container("photo")
    container.upload(picture(2), filename="two.jpg")
    got = container.get()
    assert (got.content, got.content_type, got.filename) == (picture(2), "image/jpeg", "two.jpg")
    container.upload(picture(3), filename="three.jpg", encoding="base64")
    assert (container.get().content, container.get().filename) == (picture(3), "three.jpg")
    container.delete()
    assert container.get().size == 0
    with pytest.raises(UnicodeEncodeError):  # it writes the name into a header as it is
        container.upload(picture(2), filename="é€.jpg")


def test_fms_odata_py_runs_scripts(fms: FMSODataClient, store: Store, keyed: str) -> None:
    action = {"insert": {"table": "contacts", "row": {"id": "C9"}}}
    store.create_script(keyed, Script("Greet", result="hello {parameter}", effects=[action]))
    assert fms.script("Greet", "Ada").result_parameter == "hello Ada"
    assert fms.from_("contacts").by_key("C9").script("Greet", "Grace").result_parameter == "hello Grace"
    with pytest.raises(FMScriptError) as failed:
        fms.script("Broken")
    assert failed.value.script_error == 3


def test_fms_odata_py_asks_for_metadata_and_the_version(fms: FMSODataClient) -> None:
    found = fms.metadata()
    (contacts,) = [kind for kind in found.entity_types if kind.name == "contacts_"]
    assert (contacts.keys, contacts.properties[0].type) == (["id"], "Edm.String")
    assert fms.version() == "21"


def test_fms_odata_py_cannot_select_a_field_whose_name_holds_a_space(fms: FMSODataClient) -> None:
    """It writes no quotation marks; see its `query` module."""
    with pytest.raises(FMODataError):
        fms.from_("contacts").select("First Name").get()
