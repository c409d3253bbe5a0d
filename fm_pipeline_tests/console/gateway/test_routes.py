"""The guard and Dagster's router read the same address: none is a page to one of them and a download to the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.routing import BaseRoute, Match, Mount

from fm_pipeline.console.gateway.routes import PREFIX, ROUTES, Kind, kind_of, served
from fm_pipeline_tests.console.gateway.site_routes import dagsters_mount

_GUARDED_WORDS = ("/graphql", "/logs/", "/download_debug/")
_TRICKS = [
    *["/", "//", ".", "/..", ";", "?", "%2f", "%2e", "x", "/x", "X", "é", "/_next", "/vendor"],
    "\\",
    "\n",
    "\r",
    "\0",
]
_PARTS = st.sampled_from(_GUARDED_WORDS) | st.sampled_from(_TRICKS)
_GUARDED = {Kind.GRAPHQL, Kind.DOWNLOAD}


@pytest.fixture(scope="module")
def mount() -> Mount:
    """Dagster's routes that are served, below the prefix."""
    return Mount(PREFIX, routes=served(dagsters_mount().routes))


def _route(routes: list[BaseRoute], scope: dict[str, Any]) -> BaseRoute | None:
    for route in routes:
        match, found = route.matches(scope)
        if match is not Match.NONE:
            return _route(route.routes, {**scope, **found}) if isinstance(route, Mount) and route.routes else route
    return None


@given(rest=st.lists(_PARTS, max_size=4).map("".join))
@example(rest="/graphql")
@example(rest="/graphql/")
@example(rest="/logs/x/out")
@example(rest="//graphql")
@example(rest="/logs\n/x/out")
@example(rest="/./download_debug/x")
def test_what_dagster_takes_for_a_download_or_for_graphql_is_guarded_as_such(mount: Mount, rest: str) -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": PREFIX + rest, "root_path": "", "headers": []}
    route = _route([mount], scope)
    kind = ROUTES[getattr(route, "path", "/_next")] if route else Kind.CLOSED
    if kind in _GUARDED:
        assert kind_of(rest) is kind
