"""The whole site as one ASGI application: Dagster below /dagster behind the guard, everything else Django's."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from functools import partial
from typing import cast

import django
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fm_pipeline.settings import Settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fm_pipeline.console.django_settings")

STOPPED = (
    "The console stops or starts anew. It is not certain whether what you have just sent was carried out. Wait a"
    " minute, open the console again, and look at the page History before you repeat it.\n"
)
RETRY = {"Retry-After": "30"}  # seconds


class Site:
    """Opened by the server's lifespan.

    Args:
        workspace_file: where Dagster finds the code location.
    """

    def __init__(self, workspace_file: str) -> None:
        self._workspace_file = workspace_file
        self._open = ExitStack()
        self._guard: ASGIApp
        self._django: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            app = self._guard if is_dagsters(scope["path"]) else self._django
            await answer_until_stopped(app, scope, receive, send)
        elif is_dagsters(scope["path"]):
            await self._guard(scope, receive, send)
        else:  # no other page has a websocket
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._open.close()
        await send({"type": "lifespan.shutdown.complete"})

    def load(self) -> None:
        """Import everything, which takes seconds. `prepare` comes first."""
        from fm_pipeline.console import current_runs, urls, visitor  # noqa: F401, PLC0415  # they read the settings
        from fm_pipeline.console.gateway import app, context, guard, health, runs  # noqa: F401, PLC0415

    def _start(self) -> None:
        from django.core.asgi import get_asgi_application  # noqa: PLC0415  # reads the settings

        from fm_pipeline.console import current_runs  # noqa: PLC0415
        from fm_pipeline.console.gateway.app import dagster_app  # noqa: PLC0415
        from fm_pipeline.console.gateway.context import open_workspace  # noqa: PLC0415
        from fm_pipeline.console.gateway.guard import Guard  # noqa: PLC0415
        from fm_pipeline.console.gateway.health import active_runs, dagster_checks  # noqa: PLC0415
        from fm_pipeline.console.gateway.runs import Runs  # noqa: PLC0415
        from fm_pipeline.console.service import health, metrics  # noqa: PLC0415

        self._django = cast(ASGIApp, get_asgi_application())
        from django.conf import settings  # noqa: PLC0415

        from fm_pipeline.console.address import connection_address  # noqa: PLC0415
        from fm_pipeline.console.database import console_url  # noqa: PLC0415
        from fm_pipeline.console.failures import no_database_page  # noqa: PLC0415
        from fm_pipeline.console.gateway_trail import record_access, record_mutation  # noqa: PLC0415
        from fm_pipeline.console.visitor import find_visitor  # noqa: PLC0415  # needs Django's models
        from fm_pipeline.db.audit import requested_cancels  # noqa: PLC0415

        context = self._open.enter_context(open_workspace(self._workspace_file))
        self._guard = Guard(
            dagster_app(context, record_mutation),
            find_visitor,
            address_of=connection_address,
            record=record_access,
            hosts=settings.ALLOWED_HOSTS,
            url=settings.PIPELINE.console_url,
            no_accounts_page=no_database_page,
        )
        runs = Runs(context)
        runs.end_unqueued()
        unfinished = [run.run_id for run in runs.unfinished()]
        runs.go_on_ending(requested_cancels(console_url(settings.PIPELINE), unfinished))
        current_runs.use(runs)
        health.use_dagster(partial(dagster_checks, context))
        metrics.use_runs(partial(active_runs, context))


async def answer_until_stopped(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request; with 503 and a sentence if the stop of the server cancels it before the answer has begun.

    Uvicorn would answer 500 without a reason, and log a stack trace.
    """
    begun = False

    async def watched(message: Message) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        await app(scope, receive, watched)
    except asyncio.CancelledError:
        if not begun:
            await PlainTextResponse(STOPPED, 503, headers=RETRY)(scope, receive, send)


def is_dagsters(path: str) -> bool:
    """Return whether a path belongs to Dagster."""
    return path == "/dagster" or path.startswith("/dagster/")


def prepare(settings: Settings) -> None:
    """Create and migrate the console's own tables."""
    from django.core.management import call_command  # noqa: PLC0415

    from fm_pipeline.console.database import prepare_schema  # noqa: PLC0415

    prepare_schema(settings)
    django.setup()
    from django.db import connection  # noqa: PLC0415

    call_command("migrate", verbosity=0, interactive=False)
    connection.close()  # back to the pool: this thread answers no request, and would keep it for ever
