"""What a tick makes of what it sees: pure functions of the directories, of what is remembered, and of the clock.

Times of files are those of another machine: they may lie in the future or in 1970, and a copy keeps those of its
original. So a file is quiet when its mtime and its ctime, which nobody can set, are old enough; and if one of them lies
in the future, when it has been seen unchanged for long enough by our own clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

# A file can be made within the same time stamp in which its directory was listed: FAT counts in two seconds.
COARSEST_TIME_STAMP = timedelta(seconds=3)
# On many shares the mtime of a folder does not move when a file comes into it: cloud and union mounts, caches, some SMB
# servers. So a folder is listed again after this, whatever its mtime says; where that was seen, after the shorter time.
LISTED_AGAIN_AFTER = timedelta(hours=1)
LISTED_AGAIN_WHERE_UNMOVED = timedelta(minutes=5)
# How long an NFS or SMB client may hold an old mtime of a folder (acdirmax, actimeo: a minute by default).
OLDEST_CACHE = timedelta(minutes=5)
MUCH_BEHIND_SECONDS = 120.0  # of which people are told; below, it may be such a cache
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class FutureTimes:
    """Times of a file or directory in the future, as they were when they were first seen so.

    Attributes:
        facts: what must stay the same: size and times.
        since: by our clock.
    """

    facts: str
    since: datetime


class Quiet(Enum):
    """Whether something is still being written."""

    YES = "it is left alone"
    NOT_YET = "it has changed a short time ago"
    BY_OUR_CLOCK = "its times lie in the future: it must be seen twice"


@dataclass(frozen=True, slots=True)
class Root:
    """The watched directory as a whole.

    Attributes:
        readable: it can be listed.
        empty: it has no entry.
        mount_point: the path of the file system that it lies in.
    """

    readable: bool
    empty: bool
    mount_point: str


def nanoseconds(moment: datetime) -> int:
    """Since 1970, as file systems count."""
    return int(moment.timestamp() * _NANOSECONDS)


def root_alarm(seen: Root, remembered: Root | None) -> str | None:
    """Why nothing may be concluded from the watched directory: an id of `reasons.UNREADABLE`, or None.

    Args:
        remembered: how it was when files were seen in it; None as long as there were none.
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
    """Whether a file or directory is left alone.

    Args:
        times_ns: its mtime, and of a file its ctime.
        facts: what must stay the same if they are of no use.
        remembered: of a file or directory that was `BY_OUR_CLOCK` before.
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
    """How many seconds the clock of a share is behind ours, at most; 0 if it is not seen to be.

    Args:
        times_ns: mtime and ctime of a folder that has changed.
        seen_before: when the folder was asked last, by our clock, and had not changed yet. What has changed since and
            has an earlier time stamp was stamped by a clock that is behind.
    """
    newest = max(times_ns) / _NANOSECONDS
    if newest >= (seen_before - COARSEST_TIME_STAMP).timestamp():
        return 0.0
    return now.timestamp() - newest
