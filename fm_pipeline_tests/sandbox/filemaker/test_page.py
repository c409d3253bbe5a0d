"""The page about the stand-in names everything that can be switched or broken."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

from fm_pipeline.sandbox.filemaker.call import Behaviour, ODataBehaviour
from fm_pipeline.sandbox.filemaker.faults import broken_json
from fm_pipeline.sandbox.filemaker.faults.faults import FaultKind, Faults
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT


def test_the_page_names_every_switch_and_every_fault() -> None:
    page = (PACKAGE_PARENT / "docs" / "stand-in.md").read_text(encoding="utf-8")
    switches = [field.name for kind in (Behaviour, ODataBehaviour, Faults) for field in fields(kind)]
    assert [name for name in [*switches, *get_args(FaultKind), *broken_json.KINDS] if f"`{name}`" not in page] == []
