from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fm_pipeline.console.pages import snapshot as snapshots
from fm_pipeline.console.pages.snapshot import SlowAnswer, Snapshot
from fm_pipeline.errors import StorageError
from fm_pipeline_tests.support.waiting import wait_until

LONG = 3600.0


def test_many_who_ask_at_once_cause_one_reading_and_get_its_answer() -> None:
    read, may_end = [], threading.Event()

    def slow() -> int:
        read.append(1)
        may_end.wait(60)
        return 7

    snapshot = Snapshot(slow, every=LONG)
    assert snapshot.get().at is None  # it begins, and nobody waits
    with ThreadPoolExecutor(20) as pages:
        answers = [pages.submit(snapshot.get, wait=60) for _ in range(20)]
        may_end.set()
    assert {answer.result().value for answer in answers} == {7}
    assert len(read) == 1


def test_what_a_page_has_read_by_itself_is_told_to_all_and_never_replaced_by_an_older_answer() -> None:
    numbers, reads, may_end = iter(range(1, 1000)), threading.Event(), threading.Event()

    def slow_at_first() -> int:
        number = next(numbers)
        if number == 1:
            reads.set()
            may_end.wait(60)
        return number

    snapshot = Snapshot(slow_at_first, every=LONG)
    assert snapshot.get().at is None
    assert reads.wait(60)
    assert snapshot.fresh() == 2
    assert snapshot.get().value == 2
    may_end.set()
    wait_until(lambda: "snapshot" not in {each.name for each in threading.enumerate()})
    assert snapshot.get(wait=60).value == 2


def test_an_answer_is_read_again_when_it_is_too_old_and_the_old_one_is_shown_meanwhile() -> None:
    numbers = iter(range(1, 1000))
    snapshot = Snapshot(lambda: next(numbers), every=0)
    first = snapshot.get(wait=60)
    assert (first.value, first.number) == (1, 1)
    assert snapshot.get().value == 1
    wait_until(lambda: (snapshot.get().value or 0) > 1)


def test_an_answer_that_was_read_before_a_change_is_not_shown_after_it() -> None:
    numbers, may_end = iter(range(1, 1000)), threading.Event()
    may_end.set()

    def read() -> int:
        number = next(numbers)
        may_end.wait(60)
        return number

    snapshot = Snapshot(read, every=LONG)
    assert snapshot.get(wait=60, change=4).value == 1
    may_end.clear()
    changed = snapshot.get(change=5)
    assert (changed.value, changed.at, changed.number) == (None, None, 1)
    assert snapshot.get(change=4).value == 1, "this page does not know of the change yet"
    may_end.set()
    assert snapshot.get(wait=60, change=5).value == 2
    assert snapshot.get(change=4).value == 2


def test_an_error_is_shown_in_place_of_the_answer_and_goes_when_the_next_attempt_works() -> None:
    works = threading.Event()

    def read() -> str:
        if not works.is_set():
            raise StorageError("S3 did not answer.", remedy="Look at the server.")
        return "answer"

    snapshot = Snapshot(read, every=LONG)
    failed = snapshot.get(wait=60)
    assert (failed.value, failed.error and failed.error.what) == (None, "S3 did not answer.")
    works.set()
    assert snapshot.get().error is failed.error
    snapshot.expire()
    wait_until(lambda: snapshot.get().value == "answer")
    assert snapshot.get().error is None


def test_an_error_that_nobody_foresaw_is_told_without_its_text() -> None:
    def read() -> None:
        raise ValueError("Zephyrine Quollthorpe")

    error = str(Snapshot(read, every=LONG).get(wait=60).error)
    assert "ValueError" in error
    assert "Zephyrine" not in error


def test_a_page_does_not_wait_for_a_slow_answer_and_the_next_ones_do_not_ask_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshots, "_LONG_SECONDS", 0.0)
    monkeypatch.setattr(snapshots, "_TIMES", 1e9)
    asked, may_end = [], threading.Event()

    def slow() -> int:
        asked.append(1)
        may_end.wait(60)
        return 7

    answer = SlowAnswer(slow)
    assert answer.get(wait=0.01) is None
    assert answer.get(wait=0.01) is None
    may_end.set()
    assert answer.get(wait=60) == 7
    assert answer.get(wait=0) == 7
    assert len(asked) == 1


def test_a_fresh_answer_takes_the_place_of_one_that_is_kept_and_of_one_that_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshots, "_LONG_SECONDS", 0.0)
    monkeypatch.setattr(snapshots, "_TIMES", 1e9)
    numbers, may_end, ended = iter(range(1, 1000)), threading.Event(), threading.Event()

    def slow() -> int:
        number = next(numbers)
        if number == 1:
            may_end.wait(60)
            ended.set()
        return number

    answer = SlowAnswer(slow)
    assert answer.get(wait=0.01) is None
    assert answer.fresh() == 2
    may_end.set()
    ended.wait(60)
    assert [answer.get(wait=60), answer.fresh(), answer.get(wait=60)] == [2, 3, 3]


def test_an_answer_that_comes_at_once_is_asked_for_by_each_page() -> None:
    numbers = iter(range(1, 1000))
    answer = SlowAnswer(lambda: next(numbers))
    assert [answer.get(wait=60) for _ in range(3)] == [1, 2, 3]
