"""A mapping over an earlier one is never copied as a whole for a few changes, and is like a dict otherwise."""

from __future__ import annotations

from random import Random

import pytest

from fm_pipeline.images.nexus import overlay_mapping
from fm_pipeline.images.nexus.overlay_mapping import OverlayMapping


@pytest.mark.parametrize("seed", range(20))
def test_a_mapping_over_an_earlier_one_has_the_items_of_a_dict(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay_mapping, "MOST_CHANGES", 7)
    random = Random(seed)  # noqa: S311
    expected = dict.fromkeys(range(5), 0)
    now: OverlayMapping[int, int] = OverlayMapping(expected)
    for step in range(1, 20):
        before, items = now, dict(now)
        now = OverlayMapping(before)
        new = {random.randrange(30): step for _ in range(random.randrange(4))}
        now.update(new)
        expected = {**expected, **new}
        for number in random.sample(range(30), 3):
            assert now.pop(number, None) == expected.pop(number, None)
        assert now == expected
        assert len(now) == len(expected)
        assert sorted(now) == sorted(expected)
        assert [number in now for number in range(30)] == [number in expected for number in range(30)]
        assert [now.get(number) for number in range(30)] == [expected.get(number) for number in range(30)]
        assert before == items


def test_few_items_are_changed_without_copying_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay_mapping, "MOST_CHANGES", 10)
    large = {str(number): number for number in range(1_000)}
    now: OverlayMapping[str, int] = OverlayMapping(large)
    copied = 0
    for number in range(50):
        before, now = now, OverlayMapping(now)
        copied += len(now.added) + len(now.removed) if now.base is before.base else len(now.base)
        now[f"new {number}"] = number
        del now[str(number)]
    assert now.base is not large
    assert copied < 15 * 1_000


def test_an_item_that_is_not_there_cannot_be_removed() -> None:
    mapping = OverlayMapping({"a": 1})
    for _ in range(2):
        mapping.pop("a", None)
        with pytest.raises(KeyError):
            del mapping["a"]
