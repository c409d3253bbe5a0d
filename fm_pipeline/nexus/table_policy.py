"""Decides what a reimport does with each table of Nexus. Tables that are not named here are kept.

load     rows come from FileMaker: missing ones are deleted, changed ones updated, new ones inserted
clear    all rows are deleted; FileMaker has no source for them
relink   rows stay; only their generic key to the patient is repaired
keep     rows stay; a reference to a deleted row is re-pointed to the patient's new row, else set to NULL, else STOP
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from fm_pipeline.db.table import Table
from fm_pipeline.entities.order import parents
from fm_pipeline.entities.registry import ENTITIES, Entity, Registry, loaded
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.own_types import (
    refuse_days_with_a_time,
    refuse_other_types,
    refuse_times_without_zone,
)
from fm_pipeline.nexus.catalogue.schema import Catalogue, GenericKey, SoftReference
from fm_pipeline.nexus.table_names import (
    BATCHES,
    CONTENT_TYPES,
    DOCUMENTS,
    FILE_COLUMNS,
    IMAGES,
    LETTERS,
    REMINDERS,
    SYSTEM_CONFIGURATION,
)
from fm_pipeline.settings import Settings

SoftAction = Literal["keep", "empty", "stop"]

# The entities of the import sequence that are loaded into a table of Nexus.
LOADED = tuple(entity for entity in loaded(ENTITIES) if not entity.made)
REQUIRED_ENTITIES = ("patient", "appointment")
_ALWAYS_THERE = (
    *(ENTITIES[name].table for name in REQUIRED_ENTITIES),
    *(DOCUMENTS, BATCHES, IMAGES, CONTENT_TYPES),
    *SYSTEM_CONFIGURATION,
)
# Every statement about files and generic keys needs these.
_ALWAYS_IN_THEM = (
    *FILE_COLUMNS,
    *((DOCUMENTS, "content_type_id"), (BATCHES, "content_type_id"), (DOCUMENTS, "filemaker_metadata")),
    *((CONTENT_TYPES, name) for name in ("id", "app_label", "model")),
    *((table, "id") for table in SYSTEM_CONFIGURATION),
)
_OWN_COLUMNS = (*((entity.table, "id") for entity in LOADED), ("patients", "filemaker_metadata"), *FILE_COLUMNS)
_TIMES = {(entity.table, name) for entity in LOADED for name in (*entity.columns, "created_at", "updated_at")}
_DAYS = {(table, name) for table, name in _TIMES if name == "dob" or name.endswith("_date")}
# Django's model name of each table that can lose rows without a mapping profile that adds to them.
MODELS = {entity.table: entity.model for entity in LOADED} | {LETTERS: "patientletter", REMINDERS: "reminder"}
# Histories of rows, by generic key, for example of Django's admin and of django-reversion. They outlive the row on
# purpose (django/contrib/admin/models.py, LogEntry; django-reversion, "Recovering deleted objects"). To set an entry to
# NULL would destroy the history, and to stop because of one would stop every reimport.
HISTORIES = ("django_admin_log", "reversion_version", "auditlog_logentry", "easyaudit_crudevent")
# The columns by which tables of django-simple-history and of django-pghistory are recognized.
HISTORY_COLUMNS = ({"history_id", "history_date", "history_type"}, {"pgh_id", "pgh_label"})


@dataclass(frozen=True)
class Policy:
    """What this run does: which entities it loads, in this order, and which tables it clears."""

    catalogue: Catalogue
    entities: tuple[Entity, ...]
    cleared: tuple[Table, ...]
    growing: tuple[Table, ...] = ()  # NEXUS_TRIGGER_TABLES: triggers may add rows to these
    soft: tuple[SoftReference, ...] = ()
    soft_action: SoftAction = "keep"

    @property
    def tables_losing_rows(self) -> list[Table]:
        """Tables that lose rows, parents before children."""
        return [self.catalogue.table(entity.table) for entity in self.entities] + list(self.cleared)

    @property
    def models(self) -> dict[str, str]:
        """Django's model name of each table that loses rows, for generic keys."""
        return MODELS | {entity.table: entity.model for entity in self.entities}

    @property
    def histories(self) -> set[Table]:
        """Tables that record the history of rows."""
        return {
            table
            for table, columns in self.catalogue.columns.items()
            if table in map(self.catalogue.table, HISTORIES)
            or any(known <= columns.keys() for known in HISTORY_COLUMNS)
        }

    @property
    def followed_keys(self) -> list[GenericKey]:
        """The generic keys that must not refer to a deleted row: all except those of histories."""
        histories = self.histories
        return [key for key in self.catalogue.generic_keys if key.table not in histories]

    @property
    def written_soft(self) -> list[SoftReference]:
        """The soft references (without a foreign key) that a reimport changes."""
        return [
            soft
            for soft in self.soft
            if soft.writable and (soft.replaced or (soft.gone and self.soft_action == "empty"))
        ]

    def entity_of(self, table: Table) -> Entity | None:
        """Return the entity that is loaded into a table, or None."""
        return next((entity for entity in self.entities if self.catalogue.table(entity.table) == table), None)


def require_tables(catalogue: Catalogue, tables: Collection[str] = ()) -> None:
    """Refuse a database without the tables that every release of Nexus has and these, or with other types in them.

    Raises:
        CatalogueStop: names the missing tables, or the columns.
    """
    catalogue.require([*tables, *_ALWAYS_THERE])
    catalogue.require_columns(_ALWAYS_IN_THEM)
    refuse_other_types(catalogue, _OWN_COLUMNS)


def require_loadable_tables(catalogue: Catalogue) -> None:
    """Refuse what `require_tables` refuses, and times and days that FileMaker's values cannot be written into.

    A restore, or the undoing of a sync, writes back what such columns held. So it does not ask for this.

    Raises:
        CatalogueStop: names the missing tables, or the columns.
    """
    require_tables(catalogue)
    refuse_times_without_zone(catalogue, _TIMES)
    refuse_days_with_a_time(catalogue, _DAYS)


def make_policy(
    catalogue: Catalogue,
    staged_entities: Collection[str],
    *,
    letters: Literal["delete", "keep"],
    reminders: Literal["delete", "keep"],
    registry: Registry = ENTITIES,
) -> Policy:
    """Decide what happens to each table.

    An entity that no profile feeds is kept, not cleared: a profile that forgot the messages must not wipe them.

    Args:
        staged_entities: those whose rows are loaded; names that are not in the registry are ignored.
        registry: with the tables and columns that a mapping profile adds.

    Raises:
        CatalogueStop: Nexus lacks a table, or something depends on a patient in a way that no rule covers.
    """
    entities = [entity for entity in loaded(registry) if entity.name in staged_entities]
    require_tables(catalogue, {entity.table for entity in entities})
    cleared = [
        catalogue.table(name)
        for name, action in ((LETTERS, letters), (REMINDERS, reminders))
        if action == "delete" and catalogue.has(name)
    ]
    policy = Policy(catalogue, tuple(in_order(catalogue, entities, registry)), tuple(cleared))
    _refuse_unknown_kinds(policy)
    return policy


def make_full_policy(catalogue: Catalogue, registry: Registry, settings: Settings) -> Policy:
    """Return the policy of a reimport of every entity whose table this database has.

    Raises:
        CatalogueStop: as `make_policy`.
    """
    entities = {each.name for each in loaded(registry) if catalogue.has(each.table)} | set(REQUIRED_ENTITIES)
    letters, reminders = settings.nexus_letters, settings.nexus_reminders
    return make_policy(catalogue, entities, letters=letters, reminders=reminders, registry=registry)


def in_order(catalogue: Catalogue, entities: Sequence[Entity], registry: Registry) -> list[Entity]:
    """Return entities that are loaded in order: by their phases, then referenced tables first, by the foreign keys.

    Raises:
        CatalogueStop: the tables refer to each other in a circle.
    """
    by_table = {catalogue.table(entity.table): entity.name for entity in entities}
    names = {*by_table.values()}
    before = {each.name: names.intersection(parents(registry, each.name)) for each in entities}
    for key in catalogue.foreign_keys:
        child, parent = by_table.get(key.table), by_table.get(key.references)
        if child and parent and child != parent and registry[child].columns.keys() & {*key.columns}:
            before[child].add(parent)
    try:
        graph = TopologicalSorter(before)
        graph.prepare()
    except CycleError as error:
        circle = " → ".join(registry[name].table for name in reversed(error.args[1]))
        raise CatalogueStop(
            f"These tables point to each other in a circle: {circle}.",
            meaning="None of them can be loaded before the others. Nothing was changed.",
            remedy="Take one of the columns that point to each other out of the mapping profile.",
        ) from None
    ordered: list[Entity] = []
    while ready := graph.get_ready():
        ordered += [entity for entity in entities if entity.name in ready]
        graph.done(*ready)
    return sorted(ordered, key=lambda entity: entity.phase or 0)


def _refuse_unknown_kinds(policy: Policy) -> None:
    """Stop at foreign keys that are not handled: only those of one column to `id`, of a whole table, are."""
    strange = [
        f"{key.table} ({key.name})"
        for table in policy.tables_losing_rows
        for key in policy.catalogue.foreign_keys_to(table)
        # A partition that has a key of its own is no table of the catalogue.
        if len(key.columns) != 1 or key.referenced_columns != ("id",) or key.table not in policy.catalogue.columns
    ]
    if strange:
        raise CatalogueStop(
            f"These foreign keys depend on patient data in a way that no rule covers: {', '.join(strange)}.",
            meaning="Their rows could be lost. Nothing was changed.",
            remedy="Tell the maintainers the table and the constraint; the pipeline needs a rule for it.",
        )
