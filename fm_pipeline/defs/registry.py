"""The entities that the graph shows: those that come with the pipeline, and those that the clinic's profile adds.

The profile is the one that FILEMAKER_PROFILE names when the definitions are loaded. One that cannot be used adds
nothing: the definitions load without any setting, and a run says what is wrong with the profile.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

from fm_pipeline.entities.profile import load_profile
from fm_pipeline.entities.registry import ENTITIES, Registry
from fm_pipeline.errors import MappingError


@cache
def entities() -> Registry:
    """By name; read once a process, since a graph does not change while it is loaded."""
    registry = dict(ENTITIES)
    if name := os.environ.get("FILEMAKER_PROFILE"):
        with suppress(MappingError):
            registry |= load_profile(name).registry
    return registry
