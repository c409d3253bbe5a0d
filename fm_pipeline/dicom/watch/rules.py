"""The rules of a tick: pure functions of the directories, their saved state, and the clock.

Times of files come from another machine. They may be in the future or in 1970, and a copy may keep those of its
original. A file is quiet when its mtime and its ctime, which no program can set, are old enough. If one of them is in
the future, the file must have been unchanged for long enough by our own clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

# A file can be created within the same timestamp in which its directory was listed: FAT counts in two seconds.
COARSEST_TIME_STAMP = timedelta(seconds=3)
# On many shares the mtime of a folder does not change when a file is added: cloud and union mounts, caches, some SMB
# servers. So each folder is listed again after this time; on shares where that was observed, after the shorter time.
LISTED_AGAIN_AFTER = timedelta(hours=1)
LISTED_AGAIN_WHERE_UNMOVED = timedelta(minutes=5)
# How long an NFS or SMB client may cache an old mtime of a folder (acdirmax, actimeo: a minute by default).
OLDEST_CACHE = timedelta(minutes=5)
MUCH_BEHIND_SECONDS = 120.0  # reported from here on; below, it may be such a cache
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class FutureTimes:
    """Times in the future of a file or directory, as first seen.

    Attributes:
        facts: size and times, which must not change.
        since: by our clock.
    """

    facts: str
    since: datetime


class Quiet(Enum):
    """Whether a file or directory is no longer being written."""

    YES = "it has not changed for the quiet period"
    NOT_YET = "it has changed a short time ago"
    BY_OUR_CLOCK = "its times are in the future, so it must be unchanged by our own clock"


@dataclass(frozen=True, slots=True)
class Root:
    """The state of the watched root.

    Attributes:
        readable: it can be listed.
        empty: it has no entry.
        mount_point: of its file system.
    """

    readable: bool
    empty: bool
    mount_point: str


def nanoseconds(moment: datetime) -> int:
    """Return the nanoseconds since 1970."""
    return int(moment.timestamp() * _NANOSECONDS)


def root_alarm(seen: Root, remembered: Root | None) -> str | None:
    """Return why the watched root cannot be trusted: an id of `reasons.UNREADABLE`, or None.

    Args:
        remembered: its state when it had files; None if it never had any.
    """
    if not seen.readable:
        return "root_missing"
    if remembered is None:
        return None
    if seen.mount_point != remembered.mount_point:
        return "not_mounted"
    return "root_empty" if seen.empty else None


def quiet(
    times_ns: tuple[int, ...], facts: str, remembered: FutureTimes | None, now: datetime, quiet_seconds: float
) -> Quiet:
    """Return whether a file or directory has been unchanged for the quiet period.

    Args:
        times_ns: the mtime, and for a file also the ctime.
        facts: what must not change if the times are in the future.
        remembered: set if the result was `BY_OUR_CLOCK` before.
    """
    newest, now_ns = max(times_ns), nanoseconds(now)
    if newest <= now_ns:
        return Quiet.YES if now_ns - newest >= quiet_seconds * _NANOSECONDS else Quiet.NOT_YET
    if remembered is not None and remembered.facts == facts:
        waited = (now - remembered.since).total_seconds()
        # A clock that was set back must not make a file wait for years.
        if waited >= quiet_seconds or waited < 0:
            return Quiet.YES
    return Quiet.BY_OUR_CLOCK


def clock_behind(times_ns: tuple[int, ...], seen_before: datetime, now: datetime) -> float:
    """Return how many seconds the clock of a share is behind ours, at most; 0 if it does not seem to be.

    Args:
        times_ns: mtime and ctime of a folder that has changed.
        seen_before: when the folder was last checked, by our clock, and was unchanged. A later change with an earlier
            timestamp comes from a clock that is behind.
    """
    newest = max(times_ns) / _NANOSECONDS
    if newest >= (seen_before - COARSEST_TIME_STAMP).timestamp():
        return 0.0
    return now.timestamp() - newest
