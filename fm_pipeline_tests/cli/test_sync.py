"""`fm-pipeline sync`: what waits is shown by id with the words that let it go on, and what was committed is undone."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from click.testing import CliRunner

from fm_pipeline.cli.main import main
from fm_pipeline_tests.sequence.nights import nights
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL


def run(*words: str, exit_code: int = 0) -> str:
    """Run the command; return what it prints."""
    result = CliRunner().invoke(main, ["sync", *words])
    assert result.exit_code == exit_code, result.output
    return result.output


def test_a_conflict_waits_for_its_words_and_the_sync_can_be_undone(
    postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nights(postgresql, tmp_path_factory.mktemp("command")) as made, made.clinic() as clinic:
        for name, value in clinic.bench.environment().items():
            monkeypatch.setenv(name, value)
        assert "Nothing new" in run()
        clinic.set_clock(dt.datetime.now(dt.UTC))
        clinic.fm_edit(0, 0)
        clinic.both_edit(1, 1)
        shown = run()
        words = re.search(r"--plan (\S+) --confirm '([^']+)'", shown)
        assert words
        assert re.search(r"patient [0-9a-f-]{36}, coordinator_name: conflict, Nexus stays", shown)
        assert "does not name this database" in run("--plan", words[1], "--confirm", "x 1", exit_code=1)
        assert "Committed: 1 row of Nexus changed." in run("--plan", words[1], "--confirm", words[2])
        ((sync_id,),) = clinic.bench.execute("SELECT id::text FROM fm_pipeline.syncs WHERE status = 'committed'")
        assert "conflict, Nexus stays" in run("--show", sync_id)
        assert "Undone: 1 row of Nexus written back." in run("--undo", sync_id)
        assert "is undone" in run("--undo", sync_id, exit_code=1)
        assert "A person has undone it at 20" in run("--show", sync_id)
