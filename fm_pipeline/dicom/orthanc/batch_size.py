"""How many bytes of files are sent in one request. It depends on Orthanc, and on the proxies in front of it."""

from __future__ import annotations

import logging
import threading

MOST_BYTES = 1 << 20
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

    def begin(self) -> None:
        """Allow requests with several files.

        Orthanc's responses to such a request are told apart by the computed ids. So a file that was sent alone must
        have shown first that Orthanc gives these ids.
        """
        with self._busy:
            self.most_bytes = self._limit

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
