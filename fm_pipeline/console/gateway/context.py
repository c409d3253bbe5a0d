"""Dagster's permissions by request: an admin's are all, everybody else's those of Dagster's read-only mode."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from sqlalchemy import Pool, event
from sqlalchemy.exc import DisconnectionError

from fm_pipeline.defs.dagster_internals import WorkspaceFileTarget, WorkspaceProcessContext, WorkspaceRequestContext

ROLE, USER, ADDRESS = (
    "fm_pipeline.role",
    "fm_pipeline.user",
    "fm_pipeline.address",
)  # keys of an ASGI scope, set by the guard
ADMIN = "admin"


@dataclass(frozen=True)
class Requester:
    """Who asks, for requests of the console's own pages; it looks like the request that Dagster knows."""

    scope: dict[str, Any]

    @classmethod
    def admin(cls, username: str) -> Requester:
        """Return a requester with all permissions."""
        return cls({ROLE: ADMIN, USER: username})


class ConsoleRequestContext(WorkspaceRequestContext):
    """Knows who asks."""

    @property
    def username(self) -> str | None:
        """The account, or None for Dagster's own calls."""
        username: str | None = _scope(self.source).get(USER)
        return username

    @property
    def address(self) -> str:
        """From where it asks."""
        return str(_scope(self.source).get(ADDRESS, ""))

    @property
    def is_admin(self) -> bool:
        """Whether it may change something and read what runs print."""
        return _scope(self.source).get(ROLE) == ADMIN

    @property
    def show_instance_config(self) -> bool:
        """Whether it may read dagster.yaml, which may hold the password of a database or of a broker."""
        return self.is_admin


class ConsoleProcessContext(WorkspaceProcessContext):
    """Makes such contexts. Dagster's own calls have no source; they are read-only."""

    def create_request_context(self, source: Any = None) -> ConsoleRequestContext:
        """Return the context of a request, a websocket or a `Requester`."""
        return ConsoleRequestContext(
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            read_only=_scope(source).get(ROLE) != ADMIN,
        )


def _scope(source: object) -> MutableMapping[str, Any]:
    scope: MutableMapping[str, Any] = getattr(source, "scope", None) or {}
    return scope


@contextmanager
def open_workspace(workspace_file: str) -> Iterator[ConsoleProcessContext]:
    """Open the instance of DAGSTER_HOME and the code location of a workspace file."""
    with dg.DagsterInstance.get() as instance:
        optimize_for_site(instance)
        with ConsoleProcessContext(instance, WorkspaceFileTarget([workspace_file])) as context:
            yield context


def optimize_for_site(instance: dg.DagsterInstance) -> None:
    """Let the instance keep a connection to each of its storages in PostgreSQL, and limit its statements to 15 s.

    Dagster does not look whether a kept connection is still there. After a restart of PostgreSQL, the first question to
    each storage would end with an error: a page, or the launch of a run.
    """
    instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
    # The pools are private to the storages, so all pools of the process are listened to. Nothing else has one here.
    if not event.contains(Pool, "checkout", _replace_if_ended):
        event.listen(Pool, "checkout", _replace_if_ended)


def _replace_if_ended(connection: Any, *_: object) -> None:
    """Ask a kept connection of any driver; SQLAlchemy takes a new one in place of one that is refused here.

    Raises:
        DisconnectionError: it is not there any more.
    """
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT 1")
    except Exception as error:
        raise DisconnectionError from error
