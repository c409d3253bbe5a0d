"""The control API under `/_sandbox/`: faults, clock, sessions, counters. No real server has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fm_pipeline.sandbox.filemaker.call import Engine


def routes(engine: Engine) -> list[Route]:
    """Return the routes of the control API.

    - GET, PUT `/_sandbox/faults`: the object that `faults.Faults` describes; PUT `{}` removes all faults.
    - GET, POST `/_sandbox/clock`: `{"advance_seconds": n}` or `{"hold_at": "2026-03-01T09:00:00"}`; DELETE: real time.
    - GET, DELETE `/_sandbox/counters`.
    - DELETE `/_sandbox/sessions`: ends every session.
    """

    async def faults(request: Request) -> JSONResponse:
        if request.method == "PUT":
            try:
                engine.faults.change(await request.json())
            except (TypeError, ValueError) as error:
                return JSONResponse({"error": str(error)}, 400)
            engine.sessions.forgive()
            engine.counters.pages = 0
        return JSONResponse(_readable(asdict(engine.faults)))

    async def clock(request: Request) -> JSONResponse:
        if request.method == "DELETE":
            engine.clock.release()
        if request.method == "POST":
            wanted = await request.json()
            if "hold_at" in wanted:
                engine.clock.hold(datetime.fromisoformat(wanted["hold_at"]))
            engine.clock.advance(timedelta(seconds=wanted.get("advance_seconds", 0)))
        return JSONResponse({"now": engine.clock.now().isoformat()})

    async def counters(request: Request) -> JSONResponse:
        if request.method == "DELETE":
            engine.counters.reset()
        return JSONResponse(
            {
                "requests": dict(engine.counters.requests),
                "answers": dict(engine.counters.answers),
                "pages": engine.counters.pages,
                "under_way": engine.counters.under_way,
                "most_under_way": engine.counters.most_under_way,
                "open_sessions": len(engine.sessions),
                "most_open_sessions": engine.sessions.most,
                "sessions_opened": engine.sessions.opened,
            }
        )

    async def sessions(_request: Request) -> JSONResponse:
        engine.sessions.end_all()
        return JSONResponse({})

    return [
        Route("/_sandbox/faults", faults, methods=["GET", "PUT"]),
        Route("/_sandbox/clock", clock, methods=["GET", "POST", "DELETE"]),
        Route("/_sandbox/counters", counters, methods=["GET", "DELETE"]),
        Route("/_sandbox/sessions", sessions, methods=["DELETE"]),
    ]


def between_pages(engine: Engine, database: str) -> None:
    """Run the actions of the fault `between_pages` that follow this answer, counted since the faults were set."""
    for step in engine.faults.between_pages:
        if step["after"] == engine.counters.pages:
            for action in step["do"]:
                act(engine, database, action)


def act(engine: Engine, database: str, action: Mapping[str, Any]) -> None:
    """Do one action of the fault `between_pages`: insert, delete or edit a record."""
    store = engine.store
    ((what, wanted),) = action.items()
    if what == "insert":
        store.insert(database, wanted["table"], [wanted["row"]])
    elif what == "delete":
        store.delete(database, wanted["table"], wanted["record_id"])
    else:
        store.edit(database, wanted["table"], wanted["record_id"], wanted["row"])


def _readable(faults: dict[str, Any]) -> dict[str, Any]:
    """Remove the times at which faults began, which cannot be set."""
    for one in faults["disturbances"]:
        del one["since"]
    return faults
