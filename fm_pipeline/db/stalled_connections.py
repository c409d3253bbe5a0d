"""Ends connections to PostgreSQL on which an answer no longer comes.

libpq waits for the end of a statement without limit. Keepalives notice a network that is gone, but not a server or
proxy that keeps the connection and sends nothing. A long statement sends nothing either, and must not be broken off. So
a thread asks the same server on a second connection when a statement has lasted for a while. As long as the server
answers there, and is at work on the statement, the statement may last.

`tcp_user_timeout` is not set: it would end a COPY whose rows the server does not take for a while.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import psycopg2
from psycopg2 import extensions

SAMPLE_SECONDS = 5.0
BUSY_SECONDS = 15.0  # a statement that lasts longer is asked about
ANSWER_SECONDS = 15.0  # for the answer on the second connection
IDLE_SECONDS = 60.0  # the server is done for so long, and its answer has not come: it is lost
UNANSWERED = 2  # so many times in a row nothing came, or an answer was lost
_DONE = """
SELECT pid FROM pg_stat_activity
WHERE pid = ANY(%s) AND state <> 'active' AND state_change < clock_timestamp() - make_interval(secs => %s)
"""


class WatchableConnection(Protocol):
    """What is used of a connection of psycopg2 or psycopg."""

    @property
    def info(self) -> Any: ...
    @property
    def closed(self) -> Any: ...
    def fileno(self) -> int: ...


@dataclass
class _Watched:
    parameters: Mapping[str, Any]  # of libpq
    busy_since: float | None = None
    unanswered: int = 0
    stalled: bool = False


_lock = threading.RLock()
_connections: WeakKeyDictionary[WatchableConnection, _Watched] = WeakKeyDictionary()
_looking: threading.Thread | None = None


class StallableConnection(extensions.connection):
    """A connection of psycopg2. It is not closed while the thread looks at it."""

    def close(self) -> None:
        """Close the connection."""
        with _lock:
            super().close()


def watch(connection: WatchableConnection, parameters: Mapping[str, Any]) -> None:
    """Watch a connection until it is closed.

    Args:
        parameters: of libpq, with which it was opened.
    """
    global _looking  # noqa: PLW0603  # one a process; after a fork there is none
    with _lock:
        _connections[connection] = _Watched(parameters)
        if _looking is None or not _looking.is_alive():
            _looking = threading.Thread(target=_look_regularly, name="stalled connections", daemon=True)
            _looking.start()


def is_stalled(connection: WatchableConnection) -> bool:
    """Whether the connection was ended because no answer came."""
    watched = _connections.get(connection)
    return watched is not None and watched.stalled


def _look_regularly() -> None:
    while True:
        time.sleep(SAMPLE_SECONDS)
        look()


def look() -> None:
    """Ask about the statements that last long, and end the connections on which no answer will come."""
    for place, connections in _busy().items():
        with suppress(Exception):  # psycopg's, if another thread has just closed one: the next look is without it
            _look_at(connections, dict(place))


def _look_at(connections: Iterable[WatchableConnection], parameters: dict[str, Any]) -> None:
    """Look at connections to one server.

    Args:
        parameters: for a second connection.
    """
    done = _sessions_done(connections, parameters)
    with _lock:
        for connection in connections:
            watched = _connections[connection]
            if not _is_waiting(connection):
                continue
            is_lost = done is None or connection.info.backend_pid in done
            watched.unanswered = watched.unanswered + 1 if is_lost else 0
            if watched.unanswered >= UNANSWERED:
                watched.stalled = True
                _end(connection)


def _busy() -> Mapping[Any, list[WatchableConnection]]:
    """The connections in which a statement has lasted for a while, by what a second connection needs."""
    found: dict[Any, list[WatchableConnection]] = defaultdict(list)
    with _lock:
        for connection, watched in list(_connections.items()):
            if not _is_waiting(connection):
                watched.busy_since, watched.unanswered = None, 0
                continue
            watched.busy_since = watched.busy_since or time.monotonic()
            if time.monotonic() - watched.busy_since >= BUSY_SECONDS and not watched.stalled:
                found[tuple(_same_server(connection, watched.parameters).items())].append(connection)
    return found


def _is_waiting(connection: WatchableConnection) -> bool:
    return not connection.closed and connection.info.transaction_status == extensions.TRANSACTION_STATUS_ACTIVE


def _same_server(connection: WatchableConnection, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters for a second connection to the server of this one, where the URL names several."""
    if "," not in str(parameters.get("host") or parameters.get("hostaddr") or ""):
        return dict(parameters)
    one = {name: value for name, value in parameters.items() if name != "hostaddr"}
    return one | {"host": connection.info.host, "port": str(connection.info.port)}


def _sessions_done(connections: Iterable[WatchableConnection], parameters: dict[str, Any]) -> set[int] | None:
    """Process ids of those that the server has answered long ago; None if it does not answer.

    Behind a pooler the ids are not the server's, and none of them is found.
    """
    until = time.monotonic() + ANSWER_SECONDS
    pids = [connection.info.backend_pid for connection in connections]
    probe = None
    try:
        probe = psycopg2.connect(**parameters, async_=1)
        _wait(probe, until)
        with probe.cursor() as cursor:
            cursor.execute(_DONE, (pids, IDLE_SECONDS))
            _wait(probe, until)
            return {pid for (pid,) in cursor.fetchall()}
    except TimeoutError:
        return None
    except (psycopg2.Error, UnicodeDecodeError):  # a refusal is an answer too
        return set()
    finally:
        if probe is not None:
            probe.close()


def _wait(probe: extensions.connection, until: float) -> None:
    while (state := probe.poll()) != extensions.POLL_OK:
        left = until - time.monotonic()
        reading = [probe] if state == extensions.POLL_READ else []
        writing = [probe] if state == extensions.POLL_WRITE else []
        if left <= 0 or not any(select.select(reading, writing, [], left)):
            raise TimeoutError


def waiting_connections() -> list[WatchableConnection]:
    """Return those in which a statement has not ended."""
    with _lock:
        return [connection for connection in list(_connections) if _is_waiting(connection)]


def end_if_waiting(connection: WatchableConnection, *, before: Callable[[], None]) -> None:
    """End a connection in which a statement has not ended.

    Args:
        before: called first, if there is one to end.
    """
    with _lock:
        if _is_waiting(connection):
            before()
            _end(connection)


def _end(connection: WatchableConnection) -> None:
    """Let the waiting thread find its connection ended. The server then rolls the transaction back."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as its_socket:
        its_socket.shutdown(socket.SHUT_RDWR)
