"""Which files are sent together in one request, by their size and by what Orthanc and the proxies before it accept."""

from __future__ import annotations

import logging
import threading

MOST_BYTES = 4 << 20  # of the files of one request
# Larger files are sent alone until the job has seen that they are faster together. The checksums of an archive cost
# about as much for such a file as a request of its own does on a near server (docs/benchmarks.md).
_SMALL_BYTES = 128 << 10
_TRIED_ONCE_IN = 100  # requests: how often the slower way is tried, because a server may change
_WEIGHT = 0.2  # of a new time in the mean
_log = logging.getLogger(__name__)


class BatchSize:
    """The size of the requests of one job that carry several files.

    Attributes:
        most_bytes: for the files of one request; 0 if each file is sent alone.
    """

    def __init__(self) -> None:
        self.most_bytes = 0
        self._limit = MOST_BYTES
        self._busy = threading.Lock()
        self._seconds: dict[tuple[int, bool], float] = {}
        self._chosen = 0

    def begin(self) -> None:
        """Allow requests with several files.

        Orthanc's responses to such a request are told apart by the computed ids. So a file that was sent alone must
        have shown first that Orthanc gives these ids.
        """
        with self._busy:
            self.most_bytes = self._limit

    def gains(self, size: int) -> bool:
        """Return whether to send files of this size together: whether that took less time a file than alone.

        Args:
            size: of the first file of the request in bytes. Sizes are compared by powers of two.
        """
        with self._busy:
            self._chosen += 1
            alone, together = (self._seconds.get((size.bit_length(), way)) for way in (False, True))
            faster = size <= _SMALL_BYTES if alone is None or together is None else together < alone
            return faster != (self._chosen % _TRIED_ONCE_IN == 0)

    def took(self, size: int, files: int, seconds: float) -> None:
        """Note how long a request took that Orthanc has accepted.

        Args:
            size: of its largest file in bytes.
        """
        key = size.bit_length(), files > 1
        with self._busy:
            before = self._seconds.get(key, seconds / files)
            self._seconds[key] = before + _WEIGHT * (seconds / files - before)

    def halve(self, size: int) -> None:
        """Make all following requests at most half as large as one that has failed.

        Args:
            size: of its files in bytes.
        """
        with self._busy:
            self.most_bytes = self._limit = min(self._limit, size // 2)

    def end(self) -> None:
        """Send each file alone from now on: Orthanc, or a proxy, accepts the files alone and not together."""
        with self._busy:
            if self._limit:
                _log.info("Orthanc accepts no ZIP archives here: from now on each file is sent in its own request.")
            self.most_bytes = self._limit = 0
