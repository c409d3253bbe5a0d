"""Which entity comes after which: an entity is staged and loaded after those that its columns point to."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from fm_pipeline.entities.registry import CONTACT_DETAIL, Entity, Registry

PATIENT = "patient"


def parents(registry: Registry, name: str) -> list[str]:
    """The entities whose staged rows an entity is compared with; those that the registry has."""
    entity = registry[name]
    names = [PATIENT] if entity.has_patient else []
    return [each for each in dict.fromkeys(names + [p.entity for p in entity.parents]) if each in registry]


def ancestors(registry: Registry, name: str) -> set[str]:
    """The parents of an entity, and theirs."""
    found: set[str] = set()
    waiting = parents(registry, name)
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += parents(registry, each)
    return found


def sources(registry: Registry, name: str) -> set[str]:
    """The entities whose extractions a staged entity is built from; of patients also their contact details."""
    names = {name} | (ancestors(registry, name) if name in registry else set())
    return names | ({CONTACT_DETAIL} if PATIENT in names else set())


def generations(registry: Registry) -> Iterator[list[Entity]]:
    """The entities that are staged, parents before children; those of one list do not depend on each other."""
    graph = TopologicalSorter({name: parents(registry, name) for name in registry if name != CONTACT_DETAIL})
    graph.prepare()
    while ready := graph.get_ready():
        yield [entity for name, entity in registry.items() if name in ready]
        graph.done(*ready)


def circle(registry: Registry) -> list[str]:
    """Entities each of which points to the next, the first again at the end; none where there is an order."""
    try:
        TopologicalSorter({name: parents(registry, name) for name in registry}).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []
