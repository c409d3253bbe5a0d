"""Every route of the running site, asked of Django's resolver and of Dagster's web server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from unittest.mock import Mock

from dagster_webserver.webserver import DagsterWebserver
from starlette.routing import BaseRoute, Mount

from fm_pipeline.console.gateway.routes import PREFIX

# In a process of its own: Django is set up once a process, for one database.
_LIST = """
import json, os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "fm_pipeline.console.django_settings"
django.setup()
from django.urls import get_resolver
def walk(patterns, before):
    for each in patterns:
        route = before + str(each.pattern)
        yield from walk(each.url_patterns, route) if hasattr(each, "url_patterns") else [route]
print(json.dumps(sorted(set(walk(get_resolver().url_patterns, "/")))))
"""
_SAMPLES = {"int": "1", "uuid": "00000000-0000-4000-8000-000000000000"}


def django_routes(settings: Mapping[str, str]) -> list[str]:
    """Return the routes as they are declared, with the settings of a console."""
    environment = {**os.environ, **settings}
    listed = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _LIST], env=environment, capture_output=True, check=True, text=True
    )
    routes: list[str] = json.loads(listed.stdout.splitlines()[-1])
    return routes


class _Dagsters(DagsterWebserver):  # type: ignore[type-arg]
    def build_graphql_schema(self) -> Mock:
        return Mock()


def dagsters_mount() -> Mount:
    """Return the routes of Dagster's own web server, also those that the console does not serve."""
    routes: list[BaseRoute] = _Dagsters(Mock(), PREFIX).build_routes()  # type: ignore[no-untyped-call]
    (dagsters,) = (route for route in routes if isinstance(route, Mount))
    return dagsters


def dagster_routes() -> list[str]:
    """Return the paths of these routes."""
    return sorted({str(getattr(route, "path", route)) for route in dagsters_mount().routes})


def sample(route: str) -> str:
    """Return a path of a route."""
    return re.sub(r"<(?:(\w+):)?\w+>", lambda found: _SAMPLES.get(found[1] or "", "none"), route)
