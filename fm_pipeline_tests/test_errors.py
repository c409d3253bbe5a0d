from __future__ import annotations

import pytest

from fm_pipeline.errors import UnforeseenError, redacted


def test_a_full_disk_is_named_wherever_it_is_met() -> None:
    with (
        pytest.raises(UnforeseenError, match=r"^A disk of this machine is full.* Make room"),
        redacted(),
        open("/dev/full", "w", buffering=1) as full,
    ):
        full.write("a line\n")
