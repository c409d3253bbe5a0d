"""The picture of the layers in docs/architecture.md, drawn from the contracts of import-linter (`scripts/layers`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP

BEGIN, END = "<!-- layers: made by scripts/layers -->", "<!-- end of layers -->"


def with_layers(page: str, pyproject: Path) -> str:
    """The page with the picture of today's contracts in the place of the one that it has.

    Args:
        page: Markdown with the two marks.
        pyproject: the file with the contracts.
    """
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{''.join(_drawn(pyproject))}{END}{after}"


def _drawn(pyproject: Path) -> Iterator[str]:
    """A diagram (Mermaid) of each contract of layers: a box is a layer, and arrows lead down to what it may import."""
    contracts = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        if contract["type"] != "layers":
            continue
        yield f"\n**{contract['name']}**\n\n```mermaid\nflowchart TB\n"
        rows = [re.split(r" [|:] ", layer) for layer in contract["layers"]]
        for number, row in enumerate(rows):
            yield f'  layer{number}["{" · ".join(name.rpartition(".")[2].strip("_") for name in row)}"]\n'
        yield "  " + " --> ".join(f"layer{number}" for number in range(len(rows))) + "\n```\n"


def main() -> None:
    """Draw it anew."""
    page = TOP / "docs" / "architecture.md"
    page.write_text(with_layers(page.read_text(encoding="utf-8"), TOP / "pyproject.toml"), encoding="utf-8")


if __name__ == "__main__":
    main()
