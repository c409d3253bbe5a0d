"""What was done, and the reports of it."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta

import pytest

from fm_pipeline.db.audit import audited, record
from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.db.run_requests import record_run_request
from fm_pipeline.dicom.history.jobs import create_job
from fm_pipeline.errors import PlanStop, RequestError
from fm_pipeline.nexus.reimport.plan_inputs import Inputs
from fm_pipeline.nexus.sync.syncs import refuse_other_words
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.status.history import (
    PAGE,
    HistoryFilter,
    about_cancel,
    last_run_report,
    read_history,
    read_report,
    read_run,
    read_run_reports,
)
from fm_pipeline.status.recent import DICOM_IMPORT, DICOM_WATCH, Ends, UnfinishedRun, read_recent, verdict
from fm_pipeline_tests.support.clinics import MigrationBench


@pytest.mark.usefixtures("reimported_once")
def test_every_attempt_is_in_the_history_once_with_its_end_and_its_report(bench: MigrationBench) -> None:
    url = bench.database_url
    with pytest.raises(PlanStop), audited(url, actor="manager", action="reimport", run_id="refused"):
        raise PlanStop("The plan is stale.")
    record(url, actor="manager", action="restore", outcome="started", run_id="killed")
    for _ in "twice":  # the two steps of a link
        with audited(url, actor="manager", action="image_link", run_id="link"):
            pass
    with audited(url, actor="dagster (root)", action="restore", run_id="tried"):
        pass
    store_run_report(url, "tried", "restore", {"changed_rows": 3}, dry_run=True, subject="a backup")
    record_run_request(url, "tried", "admin")
    with audited(url, actor="manager", action="restore", run_id="restored"):
        pass
    store_run_report(url, "restored", "restore", {"changed_rows": 7}, dry_run=False, subject="a backup")
    with audited(url, actor="admin", action="cancel", run_id="queued", about=about_cancel("plan_reimport")):
        pass  # before its plan began

    attempts, more = read_history(url, HistoryFilter())
    assert not more
    shown = {(each["kind"], each["run_id"]): each for each in attempts if each["run_id"]}
    assert len([each for each in attempts if each["run_id"]]) == len(shown), "each once"
    ends = {key: (each["outcome"], each["dry_run"], each["has_report"]) for key, each in shown.items()}
    assert ends == {
        ("reimport", "refused"): ("refused", False, False),
        ("restore", "killed"): ("started", False, False),
        ("image_link", "link"): ("done", False, False),
        ("restore", "tried"): ("done", True, True),
        ("restore", "restored"): ("done", False, True),
        ("plan", "queued"): ("cancelled", False, False),
    }
    assert shown["restore", "restored"]["changed_rows"] == 7
    assert shown["plan", "queued"]["detail"] == "It was cancelled before it changed anything."
    assert shown["reimport", "refused"]["detail"] == "The plan is stale."
    assert shown["restore", "tried"]["actor"] == "admin"
    kinds = [each["kind"] for each in attempts if not each["run_id"]]
    assert sorted(kinds) == ["backup", "plan", "reimport"], "of the bench, which has no runs"

    only = read_history(url, HistoryFilter.of({"kind": "reimport", "outcome": "done", "since": "no day", "x": "y"}))[0]
    assert [each["kind"] for each in only] == ["reimport"]
    assert read_history(url, HistoryFilter(since="2999-01-01"))[0] == []
    assert read_history(url, HistoryFilter(actor="nobody'--"))[0] == []
    report = read_report(url, "reimport", only[0]["id"])
    assert report["report"]["committed"] is True
    assert read_report(url, "plan", report["plan_id"])["report"]["committed"] is False
    with pytest.raises(RequestError, match="There is no plan"):
        read_report(url, "plan", str(uuid.uuid4()))


@pytest.mark.usefixtures("migrated_once")
def test_a_day_of_the_history_begins_at_midnight_of_the_clinic(bench: MigrationBench) -> None:
    """A nightly run in Sydney is on the day before by UTC."""
    bench.execute(
        "INSERT INTO fm_pipeline.audit (at, actor, action, outcome, run_id)"
        " VALUES ('2025-11-14 02:30+11', 'dagster', 'backup', 'done', 'nightly')"
    )
    for day, found in (("2025-11-14", ["nightly"]), ("2025-11-15", [])):
        attempts, _ = read_history(bench.database_url, HistoryFilter(since=day))
        assert [each["run_id"] for each in attempts] == found


@pytest.mark.usefixtures("migrated_once")
def test_a_run_shows_who_asked_its_progress_and_its_report(bench: MigrationBench) -> None:
    url = bench.database_url
    with pytest.raises(RequestError) as unknown:
        read_run(url, "a-run")
    assert unknown.value.code == 404
    record_run_request(url, "a-run", "admin")
    assert read_run(url, "a-run")["steps"] == []
    with run_progress(bench.settings, "a-run") as progress:
        progress.update("restore, load", 3, 10)
        (step,) = read_run(url, "a-run")["steps"]
        assert (step["done"], step["total"], step["finished_at"]) == (3, 10, None)
    store_run_report(url, "a-run", "verify", {"rows": 1}, subject="one")
    store_run_report(url, "b-run", "verify", {"rows": 2}, subject="two")
    found = read_run(url, "a-run")
    assert (found["actor"], found["reports"][0]["report"]) == ("admin", {"rows": 1})
    assert last_run_report(url, "verify")["run_id"] == "b-run"
    assert last_run_report(url, "verify", subject="one", dry_run=False)["run_id"] == "a-run"
    assert last_run_report(url, "verify", dry_run=True) is None


def test_a_database_that_was_never_migrated_has_no_history(bench: MigrationBench) -> None:
    assert read_history(bench.database_url, HistoryFilter()) == ([], False)
    assert last_run_report(bench.database_url, "restore") is None
    with pytest.raises(RequestError):
        read_run(bench.database_url, "a-run")


@pytest.mark.usefixtures("migrated_once")
def test_a_report_that_cannot_be_stored_is_a_warning_and_no_failure(
    bench: MigrationBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.execute("ALTER TABLE fm_pipeline.run_reports ADD CHECK (run_id <> 'refused')")
    store_run_report(bench.database_url, "refused", "restore", {"rows": 1})
    assert "The report of this restore could not be stored" in caplog.text


@pytest.mark.usefixtures("reimported_once")
def test_the_ends_since_a_day_are_counted_however_many_there_are(bench: MigrationBench) -> None:
    url, since = bench.database_url, datetime.now(UTC).date() - timedelta(days=2)
    before = {each.words: each for each in read_recent(url, since)}
    for number in range(PAGE + 10):
        record(url, actor="manager", action="sync", outcome="done", run_id=f"sync-{number}")
    record(url, actor="manager", action="restore", outcome="failed", run_id="restore")
    store_run_report(url, "tried", "restore", {"changed_rows": 3}, dry_run=True, subject="a backup")
    newest, *others = read_recent(url, since)
    assert newest == Ends("restore", dry_run=True, outcomes={"done": 1})
    ends = {each.words: each for each in others}
    assert ends == before | {
        "sync": Ends("sync", outcomes={"done": PAGE + 10}),
        "restore": Ends("restore", outcomes={"failed": 1}),
    }
    assert read_recent(url, date(2999, 1, 1)) == []


@pytest.mark.usefixtures("migrated_once")
def test_what_a_later_run_has_made_good_needs_nobody_but_a_backup_that_is_not_verified_does(
    bench: MigrationBench,
) -> None:
    url = bench.database_url
    for action in ("backup", "verify"):
        for outcome in ("failed", "done"):
            record(url, actor="nightly", action=action, outcome=outcome, run_id=f"{action}-{outcome}")
    recent = read_recent(url, date(2000, 1, 1))
    assert {each.kind: each.is_bad for each in recent} == {"backup": False, "verify": True}
    assert verdict(recent) == "1 thing needs your attention: what is red here."
    record(url, actor="nightly", action="backup", outcome="failed", run_id="again")
    assert verdict(read_recent(url, date(2000, 1, 1))) == "2 things need your attention: what is red here."


@pytest.mark.usefixtures("migrated_once")
def test_words_that_were_mistyped_need_nobody_and_do_not_undo_what_was_made_good(bench: MigrationBench) -> None:
    url, day = bench.database_url, date(2000, 1, 1)
    for outcome in ("failed", "done"):
        record(url, actor="nightly", action="sync", outcome=outcome, run_id=outcome)
    with pytest.raises(PlanStop), audited(url, actor="admin", action="sync", run_id="typed", about="By hand."):
        refuse_other_words(Inputs("nexus", 80, "", {}, {}, {}), "nexus 79")
    record(url, actor="admin", action="sync", outcome="refused", detail="Other words than asked for were typed for it.")
    (sync,) = recent = read_recent(url, day)
    assert (dict(sync.outcomes), sync.made_good) == ({"mistyped": 2, "done": 1, "failed": 1}, True)
    assert verdict(recent) == "All went well."
    record(url, actor="admin", action="sync", outcome="refused", detail="The plan is stale.")
    assert verdict(read_recent(url, day)) == "1 thing needs your attention: what is red here."


@pytest.mark.usefixtures("migrated_once")
def test_a_file_that_two_jobs_have_refused_is_one_until_orthanc_has_it(bench: MigrationBench) -> None:
    url, day = bench.database_url, date(2000, 1, 1)
    add = (
        "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status)"
        " VALUES (%s, '/a', 'a', md5(%s)::uuid, %s)"
    )
    jobs = [create_job(url, "/mnt/hospital", requested_by="test").id for _ in range(3)]
    bench.execute("UPDATE fm_pipeline.import_jobs SET status = 'completed', files_bad = 1, files_failed = 1")
    for job_id in jobs[:2]:
        bench.execute(add, job_id, "first", "bad")
        bench.execute(add, job_id, "second", "failed")
    assert read_recent(url, day) == [Ends(DICOM_IMPORT, outcomes={"done": 3}, not_imported=2)]
    bench.execute(add, jobs[2], "second", "imported")
    assert [each.not_imported for each in read_recent(url, day)] == [1]
    bench.execute(add, jobs[2], "first", "skipped")
    assert [each.not_imported for each in read_recent(url, day)] == [1], "Orthanc does not have it"


@pytest.mark.usefixtures("migrated_once")
def test_a_dicom_import_is_of_the_day_of_its_end_or_of_every_day_while_it_works(bench: MigrationBench) -> None:
    url = bench.database_url
    ended, works = (create_job(url, "/mnt/hospital", requested_by="test").id for _ in range(2))
    bench.execute("UPDATE fm_pipeline.import_jobs SET created_at = '2020-01-01 10:00+00', status = 'running'")
    bench.execute(
        "UPDATE fm_pipeline.import_jobs SET status = 'completed', completed_at = '2020-01-03 12:30+00' WHERE id = %s",
        ended,
    )
    (of_the_end,), (later,) = read_recent(url, date(2020, 1, 3)), read_recent(url, date(2020, 1, 5))
    assert dict(of_the_end.outcomes) == {"done": 1, "running": 1}
    assert of_the_end.last_at == datetime(2020, 1, 3, 12, 30, tzinfo=UTC)
    assert (dict(later.outcomes), works > ended) == ({"running": 1}, True)


@pytest.mark.usefixtures("migrated_once")
def test_errors_of_a_link_a_sync_that_waits_and_a_directory_that_cannot_be_read_need_somebody(
    bench: MigrationBench,
) -> None:
    url, day = bench.database_url, date(2000, 1, 1)
    record(url, actor="manager", action="image_link", outcome="done", run_id="link")
    for run_id, errors in (("older", 7), ("link", 2)):  # the newest has tried the others again
        store_run_report(url, run_id, "image_link", {"errors": {"read_failed": errors, "no_copy": 1}})
    bench.execute(
        "INSERT INTO fm_pipeline.syncs (id, requested_by, created_at, status, inputs, report)"
        " VALUES (gen_random_uuid(), 'nightly', now(), 'waits', '{}', '{}')"
    )
    bench.execute(
        "INSERT INTO fm_pipeline.watched_roots (path_hash, directory, mount_point, alarm, ticked_at) VALUES"
        " (gen_random_uuid(), '/mnt/hospital', '/mnt', 'root_unavailable', now()),"
        " (gen_random_uuid(), '/mnt/of/old', '/mnt', 'root_unavailable', '1999-01-01')"
    )
    recent = read_recent(url, day)
    assert recent == [
        Ends("image_link", outcomes={"done": 1}, errors=3, run_id="link"),
        Ends("sync", waits=True),
        Ends(DICOM_WATCH, paused=1),
    ]
    assert [each.last_at is not None for each in recent] == [True, False, False]
    assert verdict(recent) == "3 things need your attention: what is red here."


@pytest.mark.usefixtures("migrated_once")
def test_a_run_that_has_left_no_row_yet_is_counted_once(bench: MigrationBench) -> None:
    url, day = bench.database_url, date(2000, 1, 1)
    waiting = UnfinishedRun("waiting", "restore", dry_run=True, waits=True)
    begun, recorded = (UnfinishedRun(run_id, "plan", dry_run=False, waits=False) for run_id in ("begun", "recorded"))
    record(url, actor="bench", action="plan", outcome="started", run_id="recorded")
    recent = {each.words: each for each in read_recent(url, day, [waiting, begun, recorded])}
    assert {words: dict(each.outcomes) for words, each in recent.items()} == {
        "restore (dry run)": {"queued": 1},
        "reimport (dry run)": {"started": 2},
    }
    assert [each.is_unfinished_only for each in recent.values()] == [True, True]
    assert verdict(list(recent.values())) == "All went well so far. 3 runs have not ended yet."


def test_the_first_sentence_of_the_morning_is_the_verdict() -> None:
    done, going = Ends("sync", outcomes={"done": 2}), Ends(DICOM_IMPORT, outcomes={"running": 1, "done": 1})
    assert verdict([]) == "Nothing was done."
    assert verdict([done]) == "All went well."
    assert verdict([done, going]) == "All went well so far. 1 run has not ended yet."
    assert verdict([done], overdue=1) == "1 thing needs your attention: what is overdue, at the top of this page."
    assert Ends("plan").words == "reimport (dry run)"


@pytest.mark.usefixtures("migrated_once")
def test_the_dry_run_of_a_restore_counts_until_a_newer_one_or_a_restore(bench: MigrationBench) -> None:
    url = bench.database_url

    def valid(run_id: str) -> list[bool]:
        return [each["is_valid"] for each in read_run_reports(url, run_id)]

    store_run_report(url, "first", "restore", {}, dry_run=True, subject="a backup")
    assert (valid("first"), read_run(url, "first")["reports"][0]["is_valid"]) == ([True], True)
    store_run_report(url, "second", "restore", {}, dry_run=True, subject="a backup")
    assert (valid("first"), valid("second")) == ([False], [True])
    store_run_report(url, "restored", "restore", {}, subject="another backup")
    assert (valid("second"), valid("restored")) == ([False], [False])
