"""Which files are sent together: what the job has seen of this Orthanc decides."""

from __future__ import annotations

from fm_pipeline.dicom.orthanc.batch_size import BatchSize


def share_together(of: BatchSize, size: int, choices: int = 320) -> float:
    """How many of a number of choices are for sending together."""
    return sum(of.gains(size) for _ in range(choices)) / choices


def seen(of: BatchSize, size: int, *, alone: float, together: float) -> None:
    """Milliseconds that a file took."""
    for _ in range(20):
        of.took(size, 1, alone / 1000)
        of.took(size, 8, together * 8 / 1000)


def test_without_experience_small_files_are_sent_together_and_large_ones_alone_and_the_other_way_is_tried() -> None:
    of = BatchSize()
    assert 0.9 < share_together(of, 8_000) < 1
    assert 0 < share_together(of, 500_000) < 0.1


def test_what_took_less_time_a_file_is_chosen_for_files_of_its_size() -> None:
    of = BatchSize()
    seen(of, 8_000, alone=2, together=5)
    seen(of, 500_000, alone=50, together=12)  # far away
    assert share_together(of, 8_100) < 0.1
    assert share_together(of, 500_000) > 0.9
    assert share_together(of, 30_000) > 0.9  # not seen yet
    seen(of, 8_000, alone=2, together=1)
    assert share_together(of, 8_000) > 0.9


def test_nothing_is_sent_together_before_orthanc_has_shown_its_ids_and_after_it_refused_archives() -> None:
    of = BatchSize()
    assert of.most_bytes == 0
    of.begin()
    before = of.most_bytes
    for _ in range(4):  # four threads fail at the same time
        of.halve(before)
    assert of.most_bytes == before // 2
    of.end()
    of.begin()
    assert of.most_bytes == 0
