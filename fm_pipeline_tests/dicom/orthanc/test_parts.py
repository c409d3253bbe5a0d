"""Questions about many instances."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import pytest

from fm_pipeline.dicom.orthanc.parts import FIRST, MOST, Parts


class LargeStore:
    """An Orthanc that needs some seconds for each instance, and holds every second one."""

    def __init__(self, seconds: float) -> None:
        self.now, self._seconds = 0.0, seconds
        self.asked: list[int] = []

    def sizes(self, ids: Sequence[str]) -> dict[str, int]:
        self.asked.append(len(ids))
        self.now += self._seconds * len(ids)
        return {each: 1 for each in ids if int(each) % 2 == 0}

    def ask(self, question: Callable[..., dict[str, int]]) -> dict[str, int]:
        return question(self)


@pytest.mark.parametrize(("seconds", "then"), [(0.0, MOST), (0.0001, MOST), (0.05, 100), (2.0, 2), (30.0, 1)])
def test_orthanc_is_asked_about_as_many_instances_at_once_as_it_answers_in_some_seconds(
    monkeypatch: pytest.MonkeyPatch, seconds: float, then: int
) -> None:
    store, parts, told = LargeStore(seconds), Parts(), list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: store.now)
    ids = [str(number) for number in range(FIRST + 2 * MOST)]
    held = parts.sizes(store.ask, ids, told.append)
    assert sorted(held, key=int) == ids[::2]
    assert store.asked[0] == FIRST
    assert {*store.asked[1:-1]} == {then}
    assert sum(store.asked) == len(ids)
    assert told == list(itertools.accumulate(store.asked))[:-1]
    assert parts.sizes(store.ask, []) == {}
