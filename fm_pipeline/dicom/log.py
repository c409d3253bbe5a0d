"""The log of the import, `STATE_DIR/logs/import.log`.

Levels: info for normal events, warning for non-critical problems, error for critical ones. Lines have no patient names
and no paths, since folders are named after patients. They identify jobs and history rows by their ids.
"""

from __future__ import annotations

import fcntl
import logging
import logging.handlers
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fm_pipeline.folders import make_private_folder
from fm_pipeline.settings import Settings

LOGGER = "fm_pipeline.dicom"
# A job writes about ten lines, so this lasts for years, and takes 50 MB at most.
FILE_BYTES = 5 * 1024 * 1024
FILES_KEPT = 9


def log_file(settings: Settings) -> Path:
    """Return the path of the log."""
    return settings.state_dir / "logs" / "import.log"


@contextmanager
def import_log(settings: Settings) -> Iterator[logging.Logger]:
    """Write everything that is logged under `fm_pipeline.dicom` within the block to the file.

    If the file cannot be written, one warning goes to standard error, and the work continues. Blocks of several threads
    have one handler of a file, so that no line comes twice.
    """
    logger, path = logging.getLogger(LOGGER), log_file(settings)
    with _changing:
        if path not in _handlers:
            handler = _handler(logger, settings)
            if not _handlers:
                _level_before.append(logger.level)
                logger.setLevel(logging.INFO)
            logger.addHandler(handler)
            _handlers[path] = handler
        _blocks[path] += 1
    try:
        yield logger
    finally:
        with _changing:
            _blocks[path] -= 1
            if not _blocks[path]:
                handler = _handlers.pop(path)
                logger.removeHandler(handler)
                handler.close()
            if not _handlers:
                logger.setLevel(_level_before.pop())


_changing = threading.Lock()
_handlers: dict[Path, logging.Handler] = {}
_blocks: Counter[Path] = Counter()  # that write to the file
_level_before: list[int] = []  # of the logger


def _handler(logger: logging.Logger, settings: Settings) -> logging.Handler:
    handler: logging.Handler
    try:
        make_private_folder(log_file(settings).parent)
        handler = _SharedFile(log_file(settings))
    except OSError as error:
        handler = logging.StreamHandler()
        logger.warning("The import's log cannot be written (%s).", type(error).__name__)
    handler.setFormatter(_Lines(ZoneInfo(settings.clinic_time_zone)))
    return handler


class _SharedFile(logging.handlers.RotatingFileHandler):
    """A rotating log file for several processes, such as a command and a run of Dagster.

    The standard handler would keep writing to the file that another process has renamed, and would rename it again.
    """

    def __init__(self, path: Path) -> None:
        self._lock_path = path.with_suffix(".lock")
        os.close(self._open_lock())
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lock = self._open_lock()
        except OSError:  # the disk is full, or the folder is gone: logging must not fail the work
            self.handleError(record)
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._follow()
            super().emit(record)
        except OSError:
            self.handleError(record)
        finally:
            os.close(lock)

    def _open_lock(self) -> int:
        return os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=_private)

    def _follow(self) -> None:
        """Close the file if it was renamed or removed meanwhile."""
        if self.stream is None:
            return
        try:
            there, ours = os.stat(self.baseFilename), os.fstat(self.stream.fileno())
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        except FileNotFoundError:
            pass
        self.stream.close()
        self.stream = None  # as the standard handler does; emit opens it again


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class _Lines(logging.Formatter):
    """Lines such as `2025-11-22 10:30:00 info: …`, in the clinic's time. Line breaks in messages become spaces."""

    def __init__(self, zone: ZoneInfo) -> None:
        super().__init__()
        self._zone = zone

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, self._zone)
        text = record.getMessage().replace("\r", " ").replace("\n", " ")
        return f"{at:%Y-%m-%d %H:%M:%S} {record.levelname.lower()}: {text}"
