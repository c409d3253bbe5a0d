"""Every page on which words are typed offers a way back beside its button."""

from __future__ import annotations

from pathlib import Path

import fm_pipeline.console

TEMPLATES = Path(fm_pipeline.console.__file__).parent / "templates" / "console"
ASKS, BUTTON = 'name="confirm"', 'include "console/plan_button.html"'


def test_every_confirmation_has_a_not_now_beside_its_button() -> None:
    button = (TEMPLATES / "plan_button.html").read_text("utf-8")
    pages = {path.name: path.read_text("utf-8").replace(BUTTON, button) for path in TEMPLATES.glob("*.html")}
    asking = {name: page for name, page in pages.items() if ASKS in page}
    assert len(asking) >= 5
    assert [name for name, page in asking.items() if ">Not now</a>" not in page.partition(ASKS)[2]] == []
    assert [name for name, page in asking.items() if 'include "console/confirm_field.html"' not in page] == []
