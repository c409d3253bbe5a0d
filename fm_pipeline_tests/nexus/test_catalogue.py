from __future__ import annotations

from contextlib import closing

import psycopg2

from fm_pipeline.nexus.catalogue.schema import read_catalogue
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
