"""What each route of Dagster's web server is, and which of them the console serves.

A route that is not listed here is not served: one that a new Dagster adds stays closed until somebody has read what it
answers and to whom.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from enum import Enum
from typing import TypeVar
from uuid import UUID

from starlette.routing import BaseRoute

PREFIX = "/dagster"

_log = logging.getLogger(__name__)
_Route = TypeVar("_Route", bound=BaseRoute)


class Kind(Enum):
    """What a path gives.

    - PAGE: Dagster's page, the same for every path
    - FILE: a script, picture or version number, for everybody who is logged in
    - GRAPHQL: reading and, for admins, changing
    - DOWNLOAD: the output or the whole record of a run. A program prints what it likes, also a patient's name in an
      exception of a library: for admins only, and audited
    - CLOSED: for nobody
    """

    PAGE = "page"
    FILE = "file"
    GRAPHQL = "graphql"
    DOWNLOAD = "download"
    CLOSED = "closed"


# By the path that Dagster declares, below the prefix.
ROUTES: dict[str, Kind] = {
    "/": Kind.PAGE,
    "/{path:path}": Kind.PAGE,
    "/server_info": Kind.FILE,
    "/_next": Kind.FILE,
    "/favicon.ico": Kind.FILE,
    "/favicon.png": Kind.FILE,
    "/favicon.svg": Kind.FILE,
    "/favicon-run-failed.svg": Kind.FILE,
    "/favicon-run-pending.svg": Kind.FILE,
    "/favicon-run-success.svg": Kind.FILE,
    "/manifest.json": Kind.FILE,
    "/robots.txt": Kind.FILE,
    "/Dagster_world.mp4": Kind.FILE,
    "/graphql": Kind.GRAPHQL,
    "/logs/{path:path}": Kind.DOWNLOAD,
    "/download_debug/{run_id:str}": Kind.DOWNLOAD,
    # They write without GraphQL.
    "/report_asset_materialization/{asset_key:path}": Kind.CLOSED,
    "/report_asset_check/{asset_key:path}": Kind.CLOSED,
    "/report_asset_observation/{asset_key:path}": Kind.CLOSED,
    # They render a file that the code location names.
    "/notebook": Kind.CLOSED,
    "/dagit/notebook": Kind.CLOSED,
    # Nothing asks for them: an old name, GraphiQL, and pages without the headers that Dagster gives its page.
    "/dagit_info": Kind.CLOSED,
    "/vendor": Kind.CLOSED,
    "/404.html": Kind.CLOSED,
    "/index.html": Kind.CLOSED,
    "/csp-header.txt": Kind.CLOSED,
}


def _pattern(route: str) -> str:
    return re.escape(route.partition("{")[0].rstrip("/")) + r"(?:/.*)?"


_KINDS = [(re.compile(_pattern(route), re.DOTALL), kind) for route, kind in ROUTES.items() if kind is not Kind.PAGE]


def kind_of(path: str) -> Kind:
    """Return what a path below the prefix gives."""
    return next((kind for pattern, kind in _KINDS if pattern.fullmatch(path)), Kind.PAGE)


def served(routes: Iterable[_Route]) -> list[_Route]:
    """Return the routes that the console serves; say which of them nobody has read."""
    kept = []
    for route in routes:
        path: str = getattr(route, "path", "")
        if path not in ROUTES:
            _log.warning("Dagster has a route %s that the console does not know. It is not served.", path)
        elif ROUTES[path] is not Kind.CLOSED:
            kept.append(route)
    return kept


def as_run_id(value: object) -> str | None:
    """Return what a request names as a run, if it has the form of a run's id; it may hold anything."""
    try:
        return str(UUID(str(value)))
    except ValueError:
        return None
