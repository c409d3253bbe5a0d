"""The emails of a sync: sent once, also if its process was killed."""

from __future__ import annotations

import uuid
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.errors import DatabaseError, RequestError
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.sync_with_emails import run_sync, run_undo
from fm_pipeline.status.syncs import read_undoable_id
from fm_pipeline_tests.sequence.killing import kill_after_commit
from fm_pipeline_tests.sequence.syncing import RECORDS, coordinator, sync
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench
from fm_pipeline_tests.support.mail import mail_settings, mails_of, text_of
from fm_pipeline_tests.support.services import LazyStack


def stopped(_: str) -> NoReturn:
    raise DatabaseError("PostgreSQL is stopping.")


def test_a_sync_that_is_killed_after_its_commit_stays_and_the_next_one_sends_its_mail(
    synced: MigrationBench, stack: LazyStack
) -> None:
    mail = {name: value for name, value in mail_settings(Path(), stack.mail.port) if name.startswith("smtp_")}
    bench, (changed, *_), run_id = synced.with_settings(**mail), synced.execute(RECORDS), str(uuid.uuid4())
    bench.store.edit(DATABASE, "Patients", changed[1], {"coordinator_name": "Fm"})
    assert kill_after_commit(lambda: run_sync(bench.settings, actor="killed", run_id=run_id))
    assert coordinator(bench, changed[0]) == "Fm"
    assert mails_of(stack.mail, run_id) == []
    for _ in range(2):
        assert run_sync(bench.settings, actor="bench", run_id=str(uuid.uuid4())).status == "nothing_new"
        ((text),) = [text_of(each) for each in mails_of(stack.mail, run_id)]
        assert text.startswith("The sync has changed Nexus")
        assert "1 row of Nexus." in text


def test_a_sync_has_the_time_after_filemaker_was_read(synced: MigrationBench) -> None:
    """A plan that was made while it read FileMaker is older than the sync."""
    changed, *_ = synced.execute(RECORDS)
    synced.store.edit(DATABASE, "Patients", changed[1], {"coordinator_name": "Fm"})
    assert run_sync(synced.settings, actor="bench", run_id="a run").status == "committed"
    ((read_at, committed_at),) = synced.execute(
        "SELECT (SELECT max(finished_at) FROM fm_pipeline.source_extractions), committed_at FROM fm_pipeline.syncs"
        " WHERE run_id = 'a run'"
    )
    assert committed_at >= read_at


def test_a_sync_that_has_failed_before_its_commit_was_known_is_told_of_by_the_next_one(
    synced: MigrationBench, stack: LazyStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = {name: value for name, value in mail_settings(Path(), stack.mail.port) if name.startswith("smtp_")}
    bench, (changed, *_), run_id = synced.with_settings(**mail), synced.execute(RECORDS), str(uuid.uuid4())
    bench.store.edit(DATABASE, "Patients", changed[1], {"coordinator_name": "Fm"})

    def commit_unseen(connection: Connection, _: str) -> None:
        connection.commit()
        raise DatabaseError("The connection to PostgreSQL was lost at COMMIT.", sqlstate="08006")

    with monkeypatch.context() as patched:
        patched.setattr("fm_pipeline.sequence.sync.commit", commit_unseen)
        with pytest.raises(DatabaseError):
            run_sync(bench.settings, actor="bench", run_id=run_id)
    assert coordinator(bench, changed[0]) == "Fm"
    assert run_sync(bench.settings, actor="bench", run_id=str(uuid.uuid4())).status == "nothing_new"
    changed_nexus, failed = sorted(text_of(each) for each in mails_of(stack.mail, run_id))
    assert failed.startswith("The sync has failed")
    assert changed_nexus.startswith("The sync has changed Nexus")


def test_a_mail_tells_of_an_unforeseen_error_of_a_sync_without_its_text(
    synced: MigrationBench, stack: LazyStack
) -> None:
    mail = {name: value for name, value in mail_settings(Path(), stack.mail.port) if name.startswith("smtp_")}
    bench, run_id = synced.with_settings(**mail), str(uuid.uuid4())

    def fail() -> NoReturn:
        raise ValueError("Mary Miller")

    with pytest.raises(ValueError, match="Mary Miller"):
        run_sync(bench.settings, actor="bench", run_id=run_id, phases=fail)
    ((text),) = [text_of(each) for each in mails_of(stack.mail, run_id)]
    assert text.startswith("The sync has failed\nError: ValueError.")
    assert "Miller" not in text


def test_a_mail_tells_that_a_sync_was_undone_also_if_the_process_was_killed_or_postgresql_was_stopped(
    synced: MigrationBench, stack: LazyStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = {name: value for name, value in mail_settings(Path(), stack.mail.port) if name.startswith("smtp_")}
    bench, records, warnings = synced.with_settings(**mail), synced.execute(RECORDS), list[str]()
    done: list[str] = []
    for _, record_id, _ in records[:3]:
        bench.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
        done.append(sync(bench).id)
        undo = partial(run_undo, bench.settings, done[-1], actor="bench", run_id="undo")
        if len(done) == 1:
            assert undo()["patients"] == 1
        elif len(done) == 2:
            assert kill_after_commit(undo)
        else:
            with monkeypatch.context() as patched:
                patched.setattr("fm_pipeline.sequence.sync_with_emails.connect", stopped)
                assert undo(warn=warnings.append)["patients"] == 1
        if len(done) > 1:
            assert mails_of(stack.mail, done[-1]) == []
            run_sync(bench.settings, actor="bench", run_id=str(uuid.uuid4()))
        with pytest.raises(RequestError, match="is undone"):
            undo()
    assert warnings == ["The sync was undone. The next sync sends the email about it: PostgreSQL is stopping."]
    for sync_id in done:
        ((text),) = [text_of(each) for each in mails_of(stack.mail, sync_id)]
        assert text.startswith("The sync was undone")
        ((at,),) = bench.execute("SELECT committed_at FROM fm_pipeline.syncs WHERE id::text = %s", sync_id)
        assert f"1 row of Nexus is again as before the sync of {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC." in text


def test_each_of_two_undos_whose_processes_were_killed_is_told_of(synced: MigrationBench, stack: LazyStack) -> None:
    mail = {name: value for name, value in mail_settings(Path(), stack.mail.port) if name.startswith("smtp_")}
    bench, records, done = synced.with_settings(**mail), synced.execute(RECORDS), list[str]()
    for _, record_id, _ in records[:2]:
        bench.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
        done.append(sync(bench).id)
    for sync_id in reversed(done):
        assert kill_after_commit(partial(run_undo, bench.settings, sync_id, actor="bench", run_id="undo"))
    for _ in range(2):
        run_sync(bench.settings, actor="bench", run_id=str(uuid.uuid4()))
        assert [len(mails_of(stack.mail, sync_id)) for sync_id in done] == [1, 1]


def test_a_sync_that_has_only_confirmed_conflicts_is_not_said_to_have_changed_nexus(
    synced: MigrationBench, stack: LazyStack
) -> None:
    mail = {name: value for name, value in mail_settings(Path(), stack.mail.port) if name.startswith("smtp_")}
    bench, ((nexus_id, record_id, _), *_), run_id = synced.with_settings(**mail), synced.execute(RECORDS), uuid.uuid4()
    bench.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    bench.execute("UPDATE patients SET coordinator_name = 'Nexus' WHERE id = %s", nexus_id)
    waits = run_sync(bench.settings, actor="bench", run_id=str(uuid.uuid4()))
    permission = Permission(waits.id, waits.confirmation, "bench")
    done = run_sync(bench.settings, actor="bench", run_id=str(run_id), permission=permission)
    assert (done.status, done.report.changed_rows, coordinator(bench, nexus_id)) == ("committed", 0, "Nexus")
    ((text),) = [text_of(each) for each in mails_of(stack.mail, str(run_id))]
    assert text.startswith("The sync is carried out, and Nexus stays as it was")
    assert "No row was changed: 1 conflict was confirmed." in text
    assert read_undoable_id(bench.database_url) is None
