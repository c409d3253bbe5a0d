"""What is read from PostgreSQL's catalogue, and what is told by it."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from fm_pipeline.db.table import Column, Table
from fm_pipeline.nexus.catalogue.file_ids import file_id_type
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.table_names import IMAGES
from fm_pipeline.sandbox.nexus.create import create_nexus


def test_the_tables_of_the_console_are_none_of_nexus(database_url: str) -> None:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        create_nexus(connection)
        before = read_catalogue(cursor, "public")
        cursor.execute("CREATE SCHEMA fm_console")
        cursor.execute("CREATE TABLE fm_console.kinds (id int PRIMARY KEY)")
        cursor.execute(
            "CREATE TABLE fm_console.notes (id int, content_type_id int REFERENCES fm_console.kinds, object_id uuid)"
        )
        after = read_catalogue(cursor, "public")
        assert after.fingerprint == before.fingerprint
        assert after.generic_keys == before.generic_keys
        cursor.execute("CREATE TABLE public.kinds (id int PRIMARY KEY)")
        assert read_catalogue(cursor, "public").fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *(("citext", "text"), ("nexus.citext", "text"), ("character varying(36)", "text"), ("text", "text")),
        *(("uuid", "uuid"), ("integer", "other"), ("bigint", "other"), ("text[]", "other")),
    ],
)
def test_ids_in_a_text_of_any_type_are_found_also_if_the_type_is_of_another_schema(kind: str, expected: str) -> None:
    is_text = kind not in {"uuid", "integer", "bigint"}
    keys = {
        name: Column(name, kind, not_null=False, has_default=False, is_text=is_text)
        for name in ("filemaker_id", "object_id")
    }
    content_type = Column("content_type_id", "integer", not_null=False, has_default=False, is_text=False)
    table = Table("nexus", IMAGES)
    catalogue = Catalogue("nexus", {table: {**keys, "content_type_id": content_type}}, ())
    assert file_id_type(catalogue, IMAGES) == expected
    assert bool(catalogue.generic_keys) == (expected != "other")
