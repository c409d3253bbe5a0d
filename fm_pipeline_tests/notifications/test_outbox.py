"""The outbox: each email once, whatever is killed, and again after a while when it was not taken."""

from __future__ import annotations

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fm_pipeline.notifications.email_texts.reimport import EventType, RunEvent
from fm_pipeline.notifications.outbox import ATTEMPTS, CLAIM_HOLDS, LONGEST_PAUSE, Claim, Outbox, pause_after

NOW = datetime(2025, 11, 20, 2, 30, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def run_event(event: EventType, run_id: str = "run") -> RunEvent:
    return RunEvent(run_id, event, NOW)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "state")


def claimed(outbox: Outbox, now: datetime = NOW) -> Claim:
    claim = outbox.claim(now)
    assert claim is not None
    return claim


def test_the_same_event_is_kept_once_also_in_another_process(outbox: Outbox, tmp_path: Path) -> None:
    assert outbox.enqueue_run_event(run_event(EventType.STARTED))
    assert not Outbox(tmp_path / "state").enqueue_run_event(run_event(EventType.STARTED))


def test_a_reported_failure_is_not_reported_as_a_cancellation_too(outbox: Outbox) -> None:
    assert outbox.enqueue_run_event(run_event(EventType.FAILED))
    assert outbox.contains("run", EventType.CANCELLED)
    assert not outbox.enqueue_run_event(run_event(EventType.CANCELLED))
    assert outbox.enqueue_run_event(run_event(EventType.SUCCEEDED))


def test_of_many_senders_only_one_can_claim_a_mail(outbox: Outbox) -> None:
    outbox.enqueue_run_event(run_event(EventType.STARTED))
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: outbox.claim(NOW), range(16)))
    assert sum(claim is not None for claim in claims) == 1


def test_a_sender_that_was_killed_before_the_hand_over_loses_no_mail(outbox: Outbox) -> None:
    outbox.enqueue_run_event(run_event(EventType.STARTED))
    killed = claimed(outbox)
    assert outbox.claim(NOW) is None
    again = claimed(outbox, NOW + CLAIM_HOLDS)
    assert not outbox.mark_handed_over(killed), "the claim of a sender that only seemed to be killed has ended"
    assert outbox.mark_handed_over(again)


def test_a_sender_that_was_killed_after_the_hand_over_sends_nothing_twice(outbox: Outbox) -> None:
    outbox.enqueue_run_event(run_event(EventType.STARTED))
    assert outbox.mark_handed_over(claimed(outbox))
    assert outbox.claim(LATER) is None
    assert not outbox.enqueue_run_event(run_event(EventType.STARTED))


def test_a_mail_that_was_not_taken_is_due_again_after_a_pause_and_given_up_at_last(outbox: Outbox) -> None:
    outbox.enqueue_run_event(run_event(EventType.FAILED))
    due: datetime | None = NOW
    for attempt in range(1, ATTEMPTS + 1):
        assert due is not None
        claim = claimed(outbox, due)
        assert claim.attempt == attempt
        due = outbox.release(claim, due)
        assert due is None or outbox.claim(due - timedelta(seconds=1)) is None
    assert due is None
    assert outbox.claim(LATER) is None
    assert outbox.count_unsent() == 0


def test_the_pauses_grow_to_an_hour_and_cover_half_a_night() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, ATTEMPTS)]
    assert pauses[:3] == [timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=2)]
    assert pauses[-1] == LONGEST_PAUSE
    assert sum(pauses, timedelta()) > timedelta(hours=4)


def test_a_mail_that_a_clock_ahead_put_off_is_due_at_once(outbox: Outbox) -> None:
    outbox.enqueue_run_event(run_event(EventType.FAILED))
    ahead = NOW + timedelta(days=365)
    outbox.release(claimed(outbox, ahead), ahead)
    assert outbox.claim(NOW)


def test_a_text_that_the_server_refused_after_the_hand_over_is_due_again(outbox: Outbox) -> None:
    outbox.enqueue_run_event(run_event(EventType.FAILED))
    claim = claimed(outbox)
    outbox.mark_handed_over(claim)
    assert outbox.release(claim, NOW)
    assert outbox.claim(LATER)


def test_an_event_of_the_end_replaces_an_unsent_event_of_the_start(outbox: Outbox) -> None:
    outbox.enqueue_run_event(run_event(EventType.STARTED))
    outbox.enqueue_run_event(run_event(EventType.SUCCEEDED))
    end = claimed(outbox)
    assert end.kind == "success"
    outbox.mark_handed_over(end)
    outbox.mark_sent(end)
    assert outbox.claim(LATER) is None


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Outbox(tmp_path / "above" / "state").enqueue_run_event(run_event(EventType.STARTED))
    finally:
        os.umask(before)
    (tmp_path / "above" / "state").rename(tmp_path / "state")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("above", "state")] == [0o700, 0o700]
    assert stat.S_IMODE((tmp_path / "state" / "mails.sqlite").stat().st_mode) == 0o600
    with closing(sqlite3.connect(tmp_path / "state" / "mails.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM mails").fetchone() == (1,)
