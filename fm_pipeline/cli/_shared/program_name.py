"""How the program was called, so that a command that is printed can be pasted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

NAME = "fm-pipeline"


def program_name() -> str:
    """Return `fm-pipeline` if that starts this program, or else the path with which it was started."""
    called = sys.argv[0]
    if os.path.basename(called) != NAME or not os.path.exists(called):  # python -m fm_pipeline, a test
        return NAME
    found = shutil.which(NAME)
    return NAME if found and os.path.samefile(found, called) else shlex.quote(called)
