"""Who can do what our errors and reports advise: an administrator can change no setting and run no command."""

from __future__ import annotations

import re

from fm_pipeline.settings import Settings

_SETTINGS = frozenset(name.upper() for name in Settings.model_fields) | {"DAGSTER_HOME", "TMPDIR"}
_NAME = re.compile(r"\b[A-Z][A-Z0-9_]+\b")
_WHO = "the person who runs the server"


def who_can_do_it(*texts: str) -> str:
    """Return a sentence that says who changes the settings and runs the commands that these texts name.

    Empty if they name none, or if one says it already.
    """
    text = " ".join(texts)
    acts = []
    if named := dict.fromkeys(name for name in _NAME.findall(text) if name in _SETTINGS):
        acts.append(f"change settings ({', '.join(named)})")
    if "fm-pipeline " in text:
        acts.append("run commands (fm-pipeline)")
    return f"Only {_WHO} can {' and '.join(acts)}." if acts and _WHO not in text.lower() else ""
