"""A container that the Data API does not send comes over OData, if that is the door."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fm_pipeline.sandbox.filemaker.data.schema import StoredContainerFile
from fm_pipeline_tests.images.containers.clinic import CONTAINERS, DATABASE, FIELDS, LAYOUT, ImageClinic
from fm_pipeline_tests.support.pictures import picture


@pytest.fixture
def by_odata(clinic: ImageClinic) -> ImageClinic:
    """The clinic, read through OData."""
    return replace(clinic, settings=clinic.settings.model_copy(update={"filemaker_door": "odata"}))


@pytest.mark.parametrize("what", ["wrong_content", "bad_gateway", "cut", "unauthorized"])
def test_the_better_picture_comes_over_odata_when_the_web_engine_does_not_send_it(
    by_odata: ImageClinic, what: str
) -> None:
    for number in (1, 2):
        by_odata.add(number, image_small=picture(9))
    by_odata.stand_in.disturb(what, of=["container"], times=None)
    report = by_odata.run()
    assert (report.stopped, by_odata.marked(), report.passed_over()) == (None, {1, 2}, {})
    assert report.by_container()[0] == ("image_Full", 2, 100.0)
    assert sorted(size for size, _ in by_odata.files().values()) == sorted(len(picture(n)) for n in (1, 2))
    by_odata.check()


def test_a_web_engine_that_has_stopped_is_not_asked_for_every_picture(by_odata: ImageClinic) -> None:
    for number in range(1, 6):
        by_odata.add(number)
    by_odata.stand_in.disturb("bad_gateway", of=["container"], times=None)
    assert by_odata.run().count("imported") == 5
    requests = by_odata.stand_in.counters()["requests"]
    assert (requests["container"], requests["odata_value"]) == (1, 5)


def test_odata_is_not_asked_while_the_data_api_sends_the_files(by_odata: ImageClinic) -> None:
    by_odata.add(1)
    assert by_odata.run().count("imported") == 1
    assert "odata_value" not in by_odata.stand_in.counters()["requests"]


def test_a_table_occurrence_that_shows_another_table_gives_no_picture_of_another_person(by_odata: ImageClinic) -> None:
    by_odata.add(1)
    by_odata.store.create_table(DATABASE, LAYOUT, FIELDS)  # listed by OData under the layout's name
    of_another = {name: StoredContainerFile(picture(99)) for name in CONTAINERS}
    by_odata.store.insert(DATABASE, LAYOUT, [{"id": "somebody else's", "recid": 1} | of_another])
    by_odata.stand_in.disturb("wrong_content", of=["container"], times=None)
    report = by_odata.run()
    assert (report.count("imported"), by_odata.files(), by_odata.marked()) == (0, {}, set())
    assert "odata_value" not in by_odata.stand_in.counters()["requests"]
