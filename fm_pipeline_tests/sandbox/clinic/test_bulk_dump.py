"""A clinic whose images still lie in the bulk dump: the numbers of the real one, and an oracle of the link."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter

import pytest

from fm_pipeline.images.pictures.inspect import Picture, inspect
from fm_pipeline.sandbox.clinic.bulk_dump import ODDITIES, PREFIX, BulkDump
from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic


@pytest.fixture(scope="module")
def bulk_clinic() -> Clinic:
    return generate_clinic(scale=0.05, images="bulk")


@pytest.fixture
def bulk_dump(bulk_clinic: Clinic) -> BulkDump:
    assert bulk_clinic.bulk_dump
    return bulk_clinic.bulk_dump


def test_at_scale_one_the_numbers_are_those_of_the_real_clinic() -> None:
    clinic = generate_clinic(images="bulk")
    assert clinic.bulk_dump
    link = clinic.bulk_dump.expected_link()
    assert len(clinic.truth.images) == 6_664
    assert link.rows == 6_490
    assert len(link.images) + sum(link.reasons.values()) == 6_490
    assert len(link.batches) == 1_661
    assert len({patient for patient, _ in link.batches}) == 1_303


def test_nexus_has_no_image_yet_and_everything_else_as_ever(bulk_clinic: Clinic) -> None:
    ordinary = generate_clinic(scale=0.05)
    rows = {table.name: len(table.rows) for table in bulk_clinic.nexus_tables()}
    for table in ordinary.nexus_tables():
        assert rows[table.name] == (0 if table.name.startswith("images_") else len(table.rows))
    assert ordinary.bulk_dump is None
    sources = bulk_clinic.expected().sources["image"]
    assert (sources.loaded, sources.skipped) == (0, len(bulk_clinic.truth.images))


def test_the_export_has_the_form_of_the_clinics(bulk_dump: BulkDump) -> None:
    text = bulk_dump.export().decode()
    assert "\n" not in text
    rows = [line.split("\t") for line in text.removesuffix("\r").split("\r")]
    assert {len(row) for row in rows} == {8}
    undated = [row for row in rows if not re.fullmatch(r"\d\d/\d\d/\d{4}", row[0])]
    assert [row[0] for row in undated] == [""]
    assert {row[5] for row in rows} == {"1"}
    assert all(row[1] == row[4] == f"{row[6]}.jpg" for row in rows)


def test_one_image_of_each_kind_is_odd_and_no_batch_is_lost_by_it(bulk_dump: BulkDump) -> None:
    assert Counter(bulk_dump.odd.values()) == Counter(ODDITIES.keys())
    visits = {(record.patient.key, record.date) for record in bulk_dump.records}
    link = bulk_dump.expected_link()
    assert link.batches.keys() == visits
    assert link.reasons == Counter(reason for reason in ODDITIES.values() if reason)


def test_every_object_is_what_the_oracle_says(bulk_dump: BulkDump) -> None:
    objects = dict(bulk_dump.objects())
    assert len(set(objects.values())) == len(objects)
    assert all(key.startswith(PREFIX) for key in objects)
    link = bulk_dump.expected_link()
    for image in link.images:
        content = objects.pop(bulk_dump.key(image.recid))
        found = inspect(content)
        assert isinstance(found, Picture)
        assert (len(content), found.mime_type) == (image.size, image.mime_type)
        assert (found.width, found.height) == (image.width, image.height)
        assert isinstance(image.date, dt.date)
    reasons = {bulk_dump.key(recid): reason for recid, reason in link.not_linked.items()}
    assert objects.keys() - reasons.keys() == set(link.unnamed)
    assert set(reasons) - objects.keys() == {key for key, reason in reasons.items() if reason == "no_file"}
