"""Scripts: lists them, runs one, and runs them around another request. Their results are defined beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fm_pipeline.sandbox.filemaker import control
from fm_pipeline.sandbox.filemaker.call import ApiCall, Engine, check_names
from fm_pipeline.sandbox.filemaker.responses import ApiError

PARAMETERS = (
    "script",
    "script.param",
    "script.prerequest",
    "script.prerequest.param",
    "script.presort",
    "script.presort.param",
)


def check(call: ApiCall, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the results of the scripts that a request names, to be added to its response. Raises ApiError 104."""
    ends: dict[str, str] = {}
    for suffix in (".prerequest", ".presort", ""):
        if name := given.get(f"script{suffix}"):
            parameter = given.get(f"script{suffix}.param")
            ends |= _end(call.engine, call.database, str(name), parameter, suffix)
    return ends


def run(call: ApiCall) -> dict[str, str]:
    """GET …/script/{name}. An error of the script is not an error of the request. Raises ApiError 104, 105."""
    check_names(list(call.query), ("script.param",))
    call.layout()
    return _end(call.engine, call.database, call.path["script"], call.query.get("script.param"), "")


def list_all(call: ApiCall) -> dict[str, Any]:
    """GET …/scripts."""
    rows: list[dict[str, Any]] = []
    folders: dict[str, list[dict[str, Any]]] = {}
    for script in call.engine.store.scripts(call.database):
        row = {"name": script.name, "isFolder": False}
        if script.folder is None:
            rows.append(row)
            continue
        if script.folder not in folders:
            folders[script.folder] = []
            inside = {"name": script.folder, "isFolder": True, "folderScriptNames": folders[script.folder]}
            rows.append(inside)
        folders[script.folder].append(row)
    return {"scripts": rows}


def perform(engine: Engine, database: str, name: str, parameter: object) -> tuple[int, str | None]:
    """Run a script, and return its error number and its result. Raises ApiError 104."""
    for script in engine.store.scripts(database):
        if script.name == name:
            for action in script.effects:
                control.act(engine, database, action)
            result = script.result
            if result is not None:
                result = result.replace("{parameter}", "" if parameter is None else str(parameter))
            return script.error, result
    raise ApiError(104)


def _end(engine: Engine, database: str, name: str, parameter: object, suffix: str) -> dict[str, str]:
    error, result = perform(engine, database, name, parameter)
    end = {f"scriptError{suffix}": str(error)}
    if result is not None:
        end[f"scriptResult{suffix}"] = result
    return end
