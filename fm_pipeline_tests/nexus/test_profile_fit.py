"""What a profile adds is compared with the tables that Nexus has; what does not fit is named, all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.profile import Profile
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.profile_fit import FittedRegistry, fit_registry
from fm_pipeline.nexus.table_policy import make_policy
from fm_pipeline_tests.support.further_tables import TABLES, with_example
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_nexus


@pytest.fixture(scope="module")
def database(postgresql: DisposablePostgreSQL) -> Iterator[str]:
    """Nexus with the tables of the example."""
    with empty_nexus(postgresql) as url:
        with connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(TABLES)
            connection.commit()
        yield url


@pytest.fixture
def cursor(database: str) -> Iterator[Cursor]:
    """Of a transaction that is rolled back."""
    with connect(database) as connection, connection.cursor() as cursor:
        yield cursor
        connection.rollback()


def fitted(cursor: Cursor, **changes: Any) -> FittedRegistry:
    profile = Profile.model_validate({"name": "clinic", "entities": with_example(**changes)})
    return fit_registry(cursor, read_catalogue(cursor, "public"), profile.registry)


def columns(entity: str, **readers: object) -> dict[str, Any]:
    return {entity: {"nexus": {"columns": readers}}}


def test_the_example_fits(cursor: Cursor) -> None:
    assert {"practice", "doctor", "referral"} <= fitted(cursor).registry.keys()


@pytest.mark.parametrize(
    ("statement", "changes", "says"),
    [
        ("DROP TABLE referrals", {}, r"referral: the schema public has no table referrals"),
        ("ALTER TABLE referral_doctors DROP COLUMN fee", {}, r"doctor: the table referral_doctors has no column fee"),
        (
            "ALTER TABLE referral_doctors ADD COLUMN region text NOT NULL",
            {},
            r"doctor: nothing feeds referral_doctors.region, which is NOT NULL and has no default; map a field",
        ),
        ("", columns("doctor", joined_on="line"), r"the reader line cannot fill referral_doctors.joined_on, .* date"),
        ("", columns("doctor", full_name="number"), r"the reader number cannot fill referral_doctors.full_name"),
        ("", columns("doctor", practice_id="reference:practice"), r"practice_id is NOT NULL, .* parent:practice"),
        (
            "",
            columns("referral", doctor_id="parent:practice"),
            r"to referral_doctors, but parent:practice gives",
        ),
        (
            "",
            columns("patient", usual_doctor_id="lookup:clinic"),
            r"doctors, but lookup:clinic gives .* clinics",
        ),
        ("", columns("practice", region_id="lookup:regions.label"), r"no table regions with a column label"),
        ("", columns("practice", region_id="lookup:zones.name"), r"no table zones with a column name"),
        ("", columns("practice", region_id="lookup:referrals.reason"), r"referrals is loaded by the same reimport"),
        ("", columns("practice", region_id="lookup:auth_user.email"), r"auth_user has no column id of the type uuid"),
        ("", columns("practice", id="line"), r"referral_practices.id cannot be fed: the pipeline writes"),
        ("", columns("practice", updated_at="timestamp"), r"updated_at cannot be fed"),
        (
            "ALTER TABLE referral_practices ADD COLUMN shout text GENERATED ALWAYS AS (upper(name)) STORED",
            columns("practice", shout="line"),
            r"shout cannot be fed: PostgreSQL computes it",
        ),
        (
            "",
            {"practice": {"nexus": {"defaults": {"is_active": "perhaps"}}}},
            r"default of .*is_active is no boolean",
        ),
        ("", {"practice": {"nexus": {"defaults": {"colour": 1}}}}, r"the default of .*colour: the table has no such"),
        (
            "",
            {"practice": {"nexus": {"defaults": {"name": "x" * 61}}}},
            r"default of .*name is no character var",
        ),
        ("", {"practice": {"nexus": {"table": "clinics"}}}, r"practice: a reimport must not load the table clinics"),
        ("", {"practice": {"nexus": {"table": "audit_log"}}}, r"audit_log has no column id of the type uuid"),
    ],
)
def test_what_does_not_fit_stops_with_its_name_and_what_to_do(
    cursor: Cursor, statement: str, changes: dict[str, Any], says: str
) -> None:
    if statement:
        cursor.execute(statement)
    with pytest.raises(CatalogueStop, match=says) as stop:
        fitted(cursor, **changes)
    assert "Add a table" in stop.value.remedy


def test_everything_that_does_not_fit_is_told_at_once(cursor: Cursor) -> None:
    cursor.execute("DROP TABLE referrals; ALTER TABLE patients DROP COLUMN usual_doctor_id")
    with pytest.raises(CatalogueStop) as stop:
        fitted(cursor)
    assert "no table referrals" in stop.value.what
    assert "patients has no column usual_doctor_id" in stop.value.what


def test_tables_whose_rows_point_to_each_other_in_a_circle_are_refused_by_name(cursor: Cursor) -> None:
    cursor.execute(
        "ALTER TABLE referral_practices ADD COLUMN head_id uuid REFERENCES referral_doctors (id);"
        "ALTER TABLE referral_practices ADD COLUMN note text"
    )
    registry = dict(fitted(cursor).registry)
    practice = registry["practice"]
    # No profile can say so: a column with such a key must be read by the reader that names its table.
    circle = {**practice.columns, "head_id": practice.columns["name"]}
    registry["practice"] = replace(practice, columns=circle)
    catalogue = read_catalogue(cursor, "public")
    with pytest.raises(CatalogueStop, match=r"in a circle: .*referral_doctors") as stop:
        make_policy(catalogue, ["practice", "doctor"], letters="keep", reminders="keep", registry=registry)
    assert "mapping profile" in stop.value.remedy


def test_tables_are_loaded_in_the_order_of_their_keys(cursor: Cursor) -> None:
    registry = fitted(cursor).registry
    policy = make_policy(
        read_catalogue(cursor, "public"), registry, letters="keep", reminders="keep", registry=registry
    )
    assert [entity.table for entity in policy.entities] == [
        "referral_practices", "referral_doctors", "patients", "appointments", "notes", "sms_messages", "referrals",
    ]  # fmt: skip


def test_a_default_that_postgresql_refuses_leaves_the_transaction_usable(cursor: Cursor) -> None:
    with pytest.raises(CatalogueStop):
        fitted(cursor, practice={"nexus": {"defaults": {"is_active": "perhaps"}}})
    cursor.execute("SELECT 1")
    assert cursor.connection.status == psycopg2.extensions.STATUS_IN_TRANSACTION
