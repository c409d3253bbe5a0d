"""Asks Orthanc about many instances in parts that it answers soon, however large its store is.

With the index in SQLite, Orthanc 1.12.7 reads all instances of its store for each one that it is asked about
(findings/orthanc-lookup-scale.sh): 58 ms for each of them in a store of 300,000. One request about 2,000 instances
would time out there, each time that it is repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fm_pipeline.dicom.orthanc.client import Orthanc

Ask = Callable[[Callable[["Orthanc"], dict[str, int]]], dict[str, int]]

FIRST = 20  # instances: answered within a minute if each of them takes 3 s
MOST = 2000
_SECONDS = 5  # that an answer may take: a tenth of the usual timeout
_SHORTEST = 0.001


class Parts:
    """How many instances a request of a job asks about; readable and changed from any thread."""

    def __init__(self) -> None:
        self._at_once = FIRST

    def sizes(self, ask: Ask, ids: Sequence[str], on_part: Callable[[int], object] = lambda _: None) -> dict[str, int]:
        """Return which of these instances Orthanc holds, with the size of their file in bytes.

        Args:
            ask: makes a request; `Delivery.ask`.
            on_part: called after each answer but the last one, with the number of instances that were asked about.

        Raises:
            What `ask` raises.
        """
        found: dict[str, int] = {}
        done = 0
        while part := ids[done : done + self._at_once]:
            started = time.monotonic()
            found |= ask(lambda orthanc, part=part: orthanc.sizes(part))  # type: ignore[misc]
            each = max(time.monotonic() - started, _SHORTEST) / len(part)
            self._at_once = min(max(int(_SECONDS / each), 1), MOST)
            done += len(part)
            if done < len(ids):
                on_part(done)
        return found
