"""Ctrl-C while the main thread waits for PostgreSQL.

Python calls signal handlers between its own instructions, and libpq waits within one of them until a statement or a
login has ended. So a thread learns of the signal at once (`signal.set_wakeup_fd`) and ends the connections that wait.
The server then rolls back. The signal handler runs while psycopg2 makes the error of the ended connection, where a
KeyboardInterrupt would be printed and dropped. So it is raised where the error is handled.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType
from typing import TypeVar

from fm_pipeline.db.stalled_connections import end_if_waiting, waiting_connections

T = TypeVar("T")

GRACE_SECONDS = 0.5  # a statement that ends by itself within this time is left alone
_listening: threading.Thread | None = None
_has_ended_waits = threading.Event()  # set by the thread, until the signal handler runs
_due = threading.Event()


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt: now, or where the error of an ended connection is handled."""
    if _has_ended_waits.is_set():
        _has_ended_waits.clear()
        _due.set()
    else:
        signal.default_int_handler(number, frame)


def raise_interrupt_if_due() -> None:
    """Raise the KeyboardInterrupt of a Ctrl-C that has ended a connection. Called where errors of psycopg2 are handled.

    Raises:
        KeyboardInterrupt: there was one.
    """
    if threading.current_thread() is threading.main_thread() and _due.is_set():
        _due.clear()
        raise KeyboardInterrupt


def _ctrl_c_interrupts() -> bool:
    """Whether Ctrl-C raises KeyboardInterrupt; during COMMIT, in Dagster and in the service it does not."""
    return signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _raise_interrupt)


def let_ctrl_c_end_waits() -> None:
    """From now on Ctrl-C ends a statement that the main thread waits for. Elsewhere than there this does nothing."""
    global _listening  # noqa: PLW0603  # one a process
    if threading.current_thread() is not threading.main_thread() or not _ctrl_c_interrupts():
        return
    signal.signal(signal.SIGINT, _raise_interrupt)
    _has_ended_waits.clear()
    _due.clear()  # nobody has handled that error
    if _listening is None or not _listening.is_alive():
        here, there = socket.socketpair()
        there.setblocking(False)
        before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        if before != -1:  # an event loop has it
            signal.set_wakeup_fd(before)
            return
        _listening = threading.Thread(target=_end_waits, args=(here, there), name="Ctrl-C", daemon=True)
        _listening.start()


def _end_waits(here: socket.socket, _kept: socket.socket) -> None:
    while signals := here.recv(1):
        if signals[0] == signal.SIGINT and _ctrl_c_interrupts():
            waiting = waiting_connections()
            time.sleep(GRACE_SECONDS)
            for connection in waiting if _ctrl_c_interrupts() else ():
                end_if_waiting(connection, before=_has_ended_waits.set)


def interruptible(call: Callable[[], T]) -> T:
    """Return what `call` returns; in the main thread, Ctrl-C does not wait for it.

    `call` then goes on in a thread of its own, and what it returns is dropped.
    """
    if threading.current_thread() is not threading.main_thread() or not _ctrl_c_interrupts():
        return call()
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised where the result is wanted
            future.set_exception(error)

    threading.Thread(target=run, name="connect", daemon=True).start()
    return future.result()
