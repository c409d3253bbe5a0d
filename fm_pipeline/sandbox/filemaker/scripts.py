"""Scripts: lists them, runs one, and runs them around another request. Their results are defined beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fm_pipeline.sandbox.filemaker.call import ApiCall, check_names
from fm_pipeline.sandbox.filemaker.data.schema import Script
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
            ends |= _end(_script(call, str(name)), suffix)
    return ends


def run(call: ApiCall) -> dict[str, str]:
    """GET …/script/{name}. An error of the script is not an error of the request. Raises ApiError 104, 105."""
    check_names(list(call.query), ("script.param",))
    call.layout()
    return _end(_script(call, call.path["script"]), "")


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


def _script(call: ApiCall, name: str) -> Script:
    for script in call.engine.store.scripts(call.database):
        if script.name == name:
            return script
    raise ApiError(104)


def _end(script: Script, suffix: str) -> dict[str, str]:
    end = {f"scriptError{suffix}": str(script.error)}
    if script.result is not None:
        end[f"scriptResult{suffix}"] = script.result
    return end
