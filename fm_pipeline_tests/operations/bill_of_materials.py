"""The bill of materials: every pinned package, in CycloneDX's format. https://cyclonedx.org/docs/1.5/json/

`scripts/audit` writes it. What the wheel needs has the scope "required"; what only the demo and the tests need,
"optional".
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP


def bill_of_materials(top: Path) -> dict[str, Any]:
    """Read pyproject.toml and constraints.txt of a checkout whose packages are installed.

    Args:
        top: the folder of the checkout.
    """
    project = tomllib.loads((top / "pyproject.toml").read_text("utf-8"))["project"]
    needed = _needed(project["dependencies"])
    lines = (top / "constraints.txt").read_text("ascii").splitlines()
    pinned = [line.partition("==") for line in lines if not line.startswith("#")]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": project["name"], "version": project["version"]},
        },
        "components": [
            {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{canonicalize_name(name)}@{version}",
                "scope": "required" if canonicalize_name(name) in needed else "optional",
            }
            for name, _, version in pinned
        ],
    }


def _needed(dependencies: list[str]) -> set[str]:
    """The names of all packages that these need, directly or not, on this machine."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(each), "") for each in dependencies]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            if (key := (canonicalize_name(requirement.name), wanted)) not in found:
                found.add(key)
                waiting += [(each, wanted) for each in _requirements(requirement.name)]
    return {name for name, _ in found}


def _requirements(name: str) -> Iterator[Requirement]:
    try:
        yield from map(Requirement, requires(name) or ())
    except PackageNotFoundError:  # for another platform
        return


if __name__ == "__main__":
    json.dump(bill_of_materials(TOP), sys.stdout, indent=1)
