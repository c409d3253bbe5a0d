"""Counts in sentences."""

from __future__ import annotations

import pytest

from fm_pipeline.pluralize import counted, page


def test_one_is_not_many_and_nothing_is() -> None:
    assert [counted(count, "file") for count in (0, 1, 2, 1204)] == ["0 files", "1 file", "2 files", "1,204 files"]
    assert counted(2, "directory", "directories") == "2 directories"


@pytest.mark.parametrize(
    ("offset", "shown", "total", "sentence"),
    [
        (0, 0, 0, "There are no jobs."),
        (50, 0, 1, "None is shown: there is 1 job, and 50 were passed over."),
        (1, 0, 1, "None is shown: there is 1 job, and 1 was passed over."),
        (0, 1, 1, "Number 1 of 1 job."),
        (4, 1, 5, "Number 5 of 5 jobs."),
        (0, 20, 1300, "1 to 20 of 1,300 jobs."),
    ],
)
def test_a_page_of_a_list_is_named_without_a_range_that_does_not_exist(
    offset: int, shown: int, total: int, sentence: str
) -> None:
    assert page(offset, shown, total, "job") == sentence
