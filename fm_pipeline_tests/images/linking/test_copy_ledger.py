"""The ledger of copies: many rows are one statement each time, so that the table is read once."""

from __future__ import annotations

from typing import Any

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.migrate import migrate
from fm_pipeline.images.linking import copy_ledger
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench

ROWS = 2_500  # several times a portion


class _Counting(Cursor):
    """Counts its statements."""

    statements = 0

    def execute(self, query: Any, vars: Any = None) -> None:  # as psycopg2 calls it
        self.statements += 1
        super().execute(query, vars)


def test_each_step_of_any_number_of_copies_is_one_statement(bench: MigrationBench) -> None:
    migrate(bench.database_url)
    batch = "00000000-0000-0000-0000-000000000001"
    rows = [
        copy_ledger.CopyRecord(n, "key", batch, f"{n}.jpg", 7, "e", f"patients/x/{n}.jpg", None, "planned", None)
        for n in range(1, ROWS + 1)
    ]
    with bench.connection() as connection, connection.cursor(cursor_factory=_Counting) as cursor:
        copy_ledger.record_planned(cursor, rows, RUN_TIME)
        cursor.statements = 0
        copy_ledger.record_copied(cursor, [(row.recid, f"e{row.recid}") for row in rows], RUN_TIME)
        copy_ledger.record_verified(cursor, [(row.recid, f"e{row.recid}", row.recid or None) for row in rows], RUN_TIME)
        copy_ledger.record_linked(cursor, [(row.recid, batch) for row in rows[1:]], RUN_TIME)
        copy_ledger.record_failed(cursor, [(rows[0].recid, "not_verified")], RUN_TIME)
        assert cursor.statements == 4
        found = list(copy_ledger.read_copies(connection))
        cursor.execute(
            "SELECT count(*) FROM fm_pipeline.image_copies WHERE thumbnail_size = recid AND copied_at = %s"
            " AND verified_at = %s AND linked_at IS NOT DISTINCT FROM CASE WHEN recid > 1 THEN %s END",
            (RUN_TIME, RUN_TIME, RUN_TIME),
        )
        assert cursor.fetchall() == [(ROWS,)]
    assert {(row.state, row.image_id) for row in found[1:]} == {("linked", batch)}
    assert (found[0].recid, found[0].state) == (1, "failed")
    assert all(row.target_etag == f"e{row.recid}" for row in found)
