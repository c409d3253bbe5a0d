"""A queue on disk between the scan and the import.

The scan runs ahead of the import, so the total is known early and memory use stays constant: a million files take
100 MB of disk. The file is unnamed and disappears with the process, because the paths in it may name patients.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter

from fm_pipeline.dicom.model import FoundFile, SetAside, Unreadable
from fm_pipeline.dicom.scan.walk import Met

_SEGMENT = 500  # entries that are written and read at once
_KINDS: dict[str, type[Met]] = {kind.__name__: kind for kind in (FoundFile, SetAside, Unreadable)}
# `dataclasses.astuple` also copies every value, which takes twenty times as long.
_VALUES = {kind: attrgetter(*(field.name for field in fields(kind))) for kind in _KINDS.values()}


class Spool:
    """A FIFO queue between one thread that scans and one that imports.

    Attributes:
        files, size_bytes: number and size of the files so far.
        ended: the scan has ended, successfully or not.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self._changed = threading.Condition()
        self._segments: deque[tuple[int, int]] = deque()
        self._waiting: list[Met] = []
        self._end = 0
        self._fault: BaseException | None = None
        self._closed = threading.Event()
        self.files = 0
        self.size_bytes = 0
        self.ended = False

    def fill(self, scan: Iterable[Met]) -> None:
        """Store everything that a scan yields. `take` raises its errors. Stops early after `close`."""
        fault: BaseException | None = None
        try:
            for met in scan:
                if self._closed.is_set():
                    return
                self._put(met)
        except BaseException as error:  # noqa: BLE001  # given to the other thread
            fault = error
        finally:
            with self._changed:
                try:
                    self._flush()
                except OSError as error:  # `take` tries once more
                    fault = fault or error
                self._fault, self.ended = fault, True
                self._changed.notify_all()

    def take(self, seconds: float) -> list[Met] | None:
        """Return some entries; an empty list if none came within `seconds`, None after the last one.

        Raises:
            Exception: an error of the scan, after everything that it yielded before.
        """
        with self._changed:
            if not self._segments:
                self._flush()
            if not self._segments and not self.ended:
                self._changed.wait(seconds)
                self._flush()
            if self._segments:
                offset, length = self._segments.popleft()
            elif not self.ended:
                return []
            elif self._fault is not None:
                raise self._fault
            else:
                return None
        rows = json.loads(os.pread(self._file.fileno(), length, offset))
        return [_KINDS[kind](*values) for kind, values in rows]

    def put(self, met: Met) -> None:
        """Add one entry without a scan. Call `end` after the last one."""
        self._put(met)

    def end(self) -> None:
        """Mark the end of the entries."""
        self.fill(())

    def close(self) -> None:
        """Stop the scan. Call it again when the thread of the scan has ended, to close the file."""
        self._closed.set()
        if self.ended:
            self._file.close()

    def _put(self, met: Met) -> None:
        with self._changed:
            self._waiting.append(met)
            if not (isinstance(met, Unreadable) and met.is_directory):
                self.files += 1
            if isinstance(met, FoundFile):
                self.size_bytes += met.size
            if len(self._waiting) >= _SEGMENT:
                self._flush()
            if len(self._waiting) == 1 or not self._waiting:
                self._changed.notify_all()

    def _flush(self) -> None:
        if self._waiting and not self._file.closed:
            # JSON escapes lone surrogates, which stand for bytes of a name that are not UTF-8.
            content = json.dumps([(type(met).__name__, _VALUES[type(met)](met)) for met in self._waiting]).encode(
                "ascii"
            )
            written = 0
            while written < len(content):  # a disk that becomes full takes a part
                written += os.pwrite(self._file.fileno(), content[written:], self._end + written)
            self._segments.append((self._end, len(content)))
            self._end += len(content)
            self._waiting = []
