"""The spool keeps the entries of a scan in order, and raises the error of the scan after them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator

import pytest

from fm_pipeline.dicom.model import FoundFile, SetAside, Unreadable
from fm_pipeline.dicom.scan.spool import Spool
from fm_pipeline.dicom.scan.walk import Met

ONE = FoundFile("/h/\udcff\n", 7, 1, 2, 3, 4)


def taken(spool: Spool) -> list[Met]:
    everything: list[Met] = []
    while (some := spool.take(60)) is not None:
        everything += some
    return everything


def test_everything_comes_out_once_in_order_with_every_name_as_it_was() -> None:
    met: list[Met] = [ONE, SetAside("/h/p", "fifo"), Unreadable("/h/d", is_directory=True, reason="permission")]
    met += [FoundFile(f"/h/{number}", number, 0, 0, 0, number) for number in range(2_000)]
    spool = Spool()
    filling = threading.Thread(target=spool.fill, args=(met,))
    filling.start()
    assert taken(spool) == met
    filling.join()
    assert (spool.files, spool.size_bytes, spool.ended) == (2_002, 7 + sum(range(2_000)), True)
    spool.close()


@pytest.mark.hard_case(45)
def test_the_first_file_can_be_taken_while_the_scan_still_waits_for_its_disk() -> None:
    go_on = threading.Event()

    def slow() -> Iterator[Met]:
        yield ONE
        go_on.wait()

    spool = Spool()
    filling = threading.Thread(target=spool.fill, args=(slow(),))
    filling.start()
    assert spool.take(60) == [ONE]
    assert spool.take(0) == []
    assert not spool.ended
    go_on.set()
    filling.join()
    assert spool.take(60) is None
    spool.close()


def test_what_the_scan_raised_comes_behind_what_it_gave() -> None:
    def failing() -> Iterator[Met]:
        yield ONE
        raise OSError("the share is gone")

    spool = Spool()
    spool.fill(failing())
    assert spool.take(0) == [ONE]
    with pytest.raises(OSError, match="gone"):
        spool.take(0)
    spool.close()


def test_a_disk_that_is_full_ends_the_scan_also_if_it_has_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    write, full = os.pwrite, [True, True]

    def write_if_there_is_room(file: int, content: bytes, offset: int) -> int:
        if full:
            full.pop()
            raise OSError(errno.ENOSPC, "no space left")
        return write(file, content[:1000], offset)

    monkeypatch.setattr(os, "pwrite", write_if_there_is_room)
    spool = Spool()
    spool.fill([ONE] * 600)
    assert spool.ended
    assert spool.take(0) == [ONE] * 500
    with pytest.raises(OSError, match="no space"):
        spool.take(0)
    spool.close()


def test_a_closed_spool_ends_the_scan() -> None:
    spool = Spool()

    def endless() -> Iterator[Met]:
        while True:
            yield ONE

    filling = threading.Thread(target=spool.fill, args=(endless(),))
    filling.start()
    spool.close()
    filling.join()
    spool.close()
    assert spool.ended
