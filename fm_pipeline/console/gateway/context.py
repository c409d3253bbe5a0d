"""Dagster's permissions by request: an admin's are all, everybody else's those of Dagster's read-only mode."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

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
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        with ConsoleProcessContext(instance, WorkspaceFileTarget([workspace_file])) as context:
            yield context
