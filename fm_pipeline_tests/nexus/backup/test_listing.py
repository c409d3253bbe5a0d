"""Of thousands of backups only those are read that somebody asks for."""

from __future__ import annotations

from fm_pipeline.nexus.backup.backup import find_backup, list_backups, newest_backups
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.postgres import rows_read

BACKUPS = 300
# Their digests are so long that PostgreSQL stores them apart from the row.
_FILL = """
INSERT INTO fm_pipeline.backups (id, created_at, folder, encrypted, bytes, digests, verified_at)
SELECT gen_random_uuid(), now(), '/nowhere/' || n, false, 1,
       (SELECT jsonb_object_agg(md5(format('%%s %%s', n, t)), jsonb_build_array(1, md5(format('%%s %%s', t, n))))
        FROM generate_series(1, 100) t), now()
FROM generate_series(1, %s) n
"""


def test_the_newest_backup_and_one_of_an_id_are_read_without_the_others(nexus: MigrationBench) -> None:
    nexus.execute(_FILL, BACKUPS)
    nexus.execute("ANALYZE fm_pipeline.backups")
    every = list_backups(nexus.settings)
    assert [each.folder.name for each in every] == [str(number) for number in range(BACKUPS, 0, -1)]
    found = []

    def find() -> None:
        found.append(find_backup(nexus.settings, every[200].id.upper()))

    assert rows_read(nexus.database_url, "backups", find) < 10
    assert found == [every[200]]
    assert rows_read(nexus.database_url, "backups", lambda: next(newest_backups(nexus.settings))) < 2 * BACKUPS
    assert find_backup(nexus.settings, "no id") is None
