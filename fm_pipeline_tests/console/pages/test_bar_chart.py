from __future__ import annotations

from fm_pipeline.console.pages.dicom.bar_chart import columns, rows


def test_bars_are_as_long_as_their_values() -> None:
    upright = columns({"1": 0, "2": 5, "3": 10}, label_every=2)
    assert [float(bar.height) for bar in upright.bars] == [0, 80, 160]
    assert [bar.shows_label for bar in upright.bars] == [True, False, True]
    lying = rows({"CT": 4, "MR": 1})
    assert float(lying.bars[0].width) == 4 * float(lying.bars[1].width)
    assert (columns({}).bars, rows({}).bars) == ([], [])
