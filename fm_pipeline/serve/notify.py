"""Tells systemd how far the service is. https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

EXTENSION_SECONDS = 60.0


def notify_systemd(state: str) -> None:
    """Send a state, such as `READY=1`. Without systemd nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace of Linux
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        notify.connect(address)
        notify.sendall(state.encode())


@contextmanager
def longer_start(seconds: float = EXTENSION_SECONDS) -> Iterator[None]:
    """Let systemd wait for the block, also beyond the unit's TimeoutStartSec.

    After an upgrade the start of the service may take minutes, because it makes indexes of large tables. If systemd
    ended it, the work would be rolled back, and the next start would begin it again and be ended too.

    Args:
        seconds: between two messages; each of them asks for twice as long.
    """
    ended = threading.Event()

    def extend() -> None:
        with suppress(OSError):  # systemd then does what the unit says
            while True:
                notify_systemd(f"EXTEND_TIMEOUT_USEC={2 * seconds * 1_000_000:.0f}")
                if ended.wait(seconds):
                    return

    thread = threading.Thread(target=extend, name="longer start", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
