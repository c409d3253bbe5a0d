"""A backup is loaded with psql, gunzip and age alone, as the runbook says it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from fm_pipeline.db.migrate import migrate
from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.nexus.backup.files import new_key
from fm_pipeline.sandbox.stack.postgresql_binaries import binaries
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_nexus

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"


def commands(encrypted: bool) -> str:
    """What the runbook says to type."""
    blocks = re.findall(r"```sh\n((?:(?!```).)*load\.psql.*?)```", RUNBOOK.read_text("utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if ("age -d" in block) == encrypted]
    return str(block)


@pytest.mark.parametrize(
    ("encrypted", "ours"), [(False, False), (True, True)], ids=["plain, without our schema", "encrypted, with it"]
)
def test_a_backup_is_loaded_with_stock_tools_alone(
    bench: MigrationBench, postgresql: DisposablePostgreSQL, tmp_path: Path, encrypted: bool, ours: bool
) -> None:
    """Every table is what it was, with keys that are checked at once, and content types of other numbers."""
    if encrypted and not shutil.which("age"):
        pytest.skip("age is not installed (Debian: apt-get install age)")
    key = new_key()
    bench = bench.with_settings(backup_key=SecretStr(key) if encrypted else None)
    migrate(bench.database_url)
    keys_at_once = (
        "ALTER TABLE xero_invoice_items ADD doubled numeric GENERATED ALWAYS AS (amount * 2) STORED,"
        " ADD FOREIGN KEY (invoice_id) REFERENCES xero_invoices; ALTER TABLE notes ADD FOREIGN KEY (patient_id)"
        " REFERENCES patients; CREATE SEQUENCE numbers; ALTER TABLE notes ADD number int DEFAULT nextval('numbers')"
    )
    bench.execute(keys_at_once)
    made = make_backup(bench.settings, now=RUN_TIME)
    with empty_nexus(postgresql) as url:
        if ours:
            migrate(url)
        there = bench.with_settings(nexus_database_url=SecretStr(url))
        there.execute(keys_at_once)
        there.execute(
            "INSERT INTO django_content_type (id, app_label, model) OVERRIDING SYSTEM VALUE VALUES (1000, 'patients',"
            " 'patient'); SELECT setval(pg_get_serial_sequence('django_content_type', 'id'), 1000)"
        )
        (tmp_path / "key").write_text(key)
        typed = commands(encrypted).replace("FOLDER", str(made.folder)).replace("KEYFILE", str(tmp_path / "key"))
        typed = typed.replace("postgresql://…", url)
        path = f"{binaries(postgresql.data)}:{os.environ['PATH']}"
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-ec", typed], env={"PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        digests, (meant, meant_there) = (
            there.digests(),
            [
                each.execute(
                    "SELECT d.id, c.model FROM documents_document d LEFT JOIN django_content_type c"
                    " ON c.id = d.content_type_id ORDER BY 1"
                )
                for each in (bench, there)
            ],
        )
        assert meant == meant_there
        with_types = {"documents_document", "images_batch", "core_bookmark"}
        loaded = {name for name in made.digests if not name.startswith("fm_pipeline.")} - with_types
        assert {name: digests[name] for name in loaded} == {name: made.digests[name] for name in loaded}
        if ours:
            crosswalk = "SELECT count(*) FROM fm_pipeline.crosswalk"
            assert there.execute(crosswalk) == bench.execute(crosswalk)
        assert there.execute("SELECT DISTINCT left(password, 1) FROM auth_user") == [
            ("!",)
        ]  # nobody can log in with it
        assert there.execute("SELECT max(number) + 1 = nextval('numbers') FROM notes") == [(True,)]
        there.execute("INSERT INTO audit_log (action, details, created_at) VALUES ('x', '{}', now())")


def test_a_file_that_is_not_whole_loads_nothing(bench: MigrationBench, postgresql: DisposablePostgreSQL) -> None:
    migrate(bench.database_url)
    made = make_backup(bench.settings, now=RUN_TIME)
    (notes,) = made.folder.glob("*-notes.copy.gz")
    notes.write_bytes(notes.read_bytes()[:-100])
    with empty_nexus(postgresql) as url:
        done = subprocess.run(  # noqa: S603
            [binaries(postgresql.data) / "psql", "-X", "-f", "load.psql", url],
            cwd=made.folder,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 3
        assert bench.with_settings(nexus_database_url=SecretStr(url)).digests()["patients"].rows == 0
