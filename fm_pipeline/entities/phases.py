"""In which phase a table that a profile adds is loaded."""

from __future__ import annotations

from dataclasses import replace

from fm_pipeline.entities.order import ancestors
from fm_pipeline.entities.registry import Entity, Phase, Registry

PATIENTS = ("patient", "appointment")


def with_phases(registry: Registry) -> Registry:
    """What belongs to nobody, such as companies, is loaded with the patients and before them; the rest with the notes.

    What appointments point to, and itself points to patients, is loaded with the appointments.
    """
    return {name: _placed(registry, entity) for name, entity in registry.items()}


def _placed(registry: Registry, entity: Entity) -> Entity:
    if not entity.made:
        return entity
    phase = Phase.NOTES if ancestors(registry, entity.name) & {*PATIENTS} else Phase.PATIENTS
    for name in PATIENTS:
        after = registry[name].phase
        if after is not None and entity.name in ancestors(registry, name):
            phase = min(phase, after)
    return replace(entity, phase=phase)
