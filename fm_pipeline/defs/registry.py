"""The entities that the graph shows: those that come with the pipeline, and those that the clinic's profile adds.

The profile is the one that FILEMAKER_PROFILE names when the definitions are loaded. One that cannot be used adds
nothing: the definitions load without any setting, and a run says what is wrong with the profile.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from fm_pipeline.entities.profile import load_profile
from fm_pipeline.entities.registry import ENTITIES, Registry
from fm_pipeline.errors import MappingError, SettingsError
from fm_pipeline.settings import load_filemaker_profile


@cache
def entities() -> Registry:
    """By name; read once a process, since a graph does not change while it is loaded."""
    with suppress(MappingError, SettingsError):
        return {**ENTITIES, **load_profile(load_filemaker_profile()).registry}
    return ENTITIES
