"""Sessions: tokens that expire 15 minutes after their last call, and the server's clock."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePath

from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount, StoredContainerFile
from fm_pipeline.sandbox.filemaker.faults.faults import Faults
from fm_pipeline.sandbox.filemaker.responses import ApiError

# Claris FileMaker Data API Guide, "Log in to a database session".
LIFETIME = timedelta(minutes=15)


class Clock:
    """The server's time, which a test may set forward or stop. FileMaker has no time zone; this is UTC."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._held: datetime | None = None

    def now(self) -> datetime:
        """Return date and time without a time zone."""
        if self._held:
            return self._held
        return datetime.fromtimestamp(time.time(), UTC).replace(tzinfo=None) + self._ahead

    def advance(self, by: timedelta) -> None:
        """Set the clock forward."""
        self._ahead += by
        if self._held:
            self._held += by

    def hold(self, at: datetime) -> None:
        """Stop the clock at a time; `advance` still moves it."""
        self._held = at.replace(tzinfo=None)

    def release(self) -> None:
        """Return to real time."""
        self._held, self._ahead = None, timedelta()


@dataclass
class Session:
    """A session of one account in one file. It holds values of global fields by table, field and repetition."""

    token: str
    database: str
    account: ServerAccount
    last_call: datetime
    calls: int = 0
    stream_key: str = field(default_factory=lambda: secrets.token_hex(26))
    streams: dict[str, str] = field(default_factory=dict)
    global_values: dict[tuple[str, str, int], str] = field(default_factory=dict)

    def container_url(self, base_url: str, key: str, file: StoredContainerFile) -> str:
        """Return the URL of a container's file. Its name is opaque and differs in each session."""
        name = hashlib.sha256(f"{self.token}\n{key}".encode()).hexdigest()
        self.streams[name] = key
        kind = "EmbeddedRCFileProcessor" if file.stored == "embedded" else "RCFileProcessor"
        return f"{base_url}/Streaming_SSL/{file.folder}/{name}{PurePath(file.name).suffix}?RCType={kind}"


class Sessions:
    """The open sessions of the server. They are lost when the server restarts."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._open: dict[str, Session] = {}
        self._wrong: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self.opened = 0
        self.most = 0

    def __len__(self) -> int:
        with self._lock:
            self._bury()
            return len(self._open)

    def open(self, database: str, account: ServerAccount) -> Session:
        """Open a session. Raises ApiError 812 or 956 if there are too many."""
        with self._lock:
            self._bury()
            limit = self._faults.session_limit
            if limit is not None and len(self._open) >= limit:
                raise ApiError(self._faults.session_limit_code)
            session = Session(secrets.token_hex(26), database, account, self._clock.now())
            self._open[session.token] = session
            self.opened += 1
            self.most = max(self.most, len(self._open))
            return session

    def use(self, token: str, database: str | None) -> Session:
        """Return the session of a token and reset its expiry. Raises ApiError 952."""
        with self._lock:
            self._bury()
            session = self._open.get(token)
            if session is None or (database is not None and session.database != database):
                raise ApiError(952)
            session.calls += 1
            dies_after = self._faults.token_dies_after
            if dies_after is not None and session.calls > dies_after:
                del self._open[token]
                raise ApiError(952)
            session.last_call = self._clock.now()
            return session

    def of_stream(self, name: str) -> Session | None:
        """Return the open session that this URL was issued to. It is not documented that downloads extend a session."""
        with self._lock:
            self._bury()
            return next((one for one in self._open.values() if name in one.streams), None)

    def close(self, token: str, database: str) -> None:
        """End a session. Raises ApiError 952 if there is none."""
        with self._lock:
            self._bury()
            session = self._open.get(token)
            if session is None or session.database != database:
                raise ApiError(952)
            del self._open[token]

    def end_all(self) -> None:
        """End every session, as a restart of the engine does."""
        with self._lock:
            self._open.clear()

    def check_lockout(self, database: str, name: str) -> None:
        """Raise ApiError 214 if an account had too many wrong passwords."""
        limit = self._faults.lockout_after
        if limit is not None and self._wrong.get((database, name.casefold()), 0) >= limit:
            raise ApiError(214)

    def wrong_password(self, database: str, name: str) -> None:
        """Count a wrong password."""
        with self._lock:
            key = (database, name.casefold())
            self._wrong[key] = self._wrong.get(key, 0) + 1

    def forgive(self) -> None:
        """Forget the wrong passwords."""
        self._wrong.clear()

    def _bury(self) -> None:
        dead = [t for t, s in self._open.items() if self._clock.now() - s.last_call >= LIFETIME]
        for token in dead:
            del self._open[token]
