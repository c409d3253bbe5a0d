"""Is it the whole source? What FileMaker has is compared with what it would replace, entity by entity.

A file that was opened empty, the file of another year, an account that sees a third of the records: each would empty
Nexus with every other check green. So a reimport asks again itself, where nobody can go around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Literal

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import count, has_table
from fm_pipeline.entities.registry import Registry, staged
from fm_pipeline.entities.rules import Rule, Rules
from fm_pipeline.nexus.catalogue.file_ids import file_id_type
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.undoing_restores import read_restores

SOURCE_RULES = ("source_empty", "source_shrunk")
Reported = Literal["source", "loaded"]


@dataclass(frozen=True)
class Before:
    """What there is to be replaced.

    Args:
        in_nexus: rows of each entity that Nexus has; of files, those that came from FileMaker.
        last: rows of each entity in the last reimport or sync that was carried out.
    """

    in_nexus: Mapping[str, int]
    last: Mapping[str, int]

    def broken(self, rules: Rules, entity: str, rows: int) -> tuple[Rule, str] | None:
        """The rule that so many rows break, as it is for this entity, and the numbers that break it.

        Where RULES_FILE says that it is right for this entity, the rule is a flag: it is still to be seen.
        """
        references = (self.in_nexus.get(entity, 0), self.last.get(entity, 0))
        if not rows and any(references):
            return _for_entity(rules["source_empty"], entity), self.compared(entity, rows)
        rule = rules["source_shrunk"]
        if any(rule.is_too_few(rows, count, entity) for count in references):
            share = min(rows / count for count in references if count)
            return replace(rule, remedy=f"{rule.remedy} {_if_right(entity, share)}"), self.compared(entity, rows)
        if any(rule.is_too_few(rows, count) for count in references):
            return replace(rule, action="flag", remedy=_RIGHT), self.compared(entity, rows)
        return None

    def compared(self, entity: str, rows: int) -> str:
        """The numbers in words."""
        references = {
            "Nexus has": self.in_nexus.get(entity, 0),
            "the last reimport or sync had": self.last.get(entity, 0),
        }
        return f"{rows:,} rows; " + (
            ", ".join(f"{whose} {count:,}" for whose, count in references.items() if count)
            or "there was nothing before"
        )


_RIGHT = "RULES_FILE says that this is right; take it out there when the reimport is done."


def _for_entity(rule: Rule, entity: str) -> Rule:
    """The rule about an empty source, for one entity."""
    if entity in (rule.may_be_empty or ()):
        return replace(rule, action="flag", remedy=_RIGHT)
    if entity == "patient":
        return rule
    return replace(
        rule,
        remedy=f"{rule.remedy} If FileMaker rightly has none, write `source_empty: {{may_be_empty: [{entity}]}}` into"
        " RULES_FILE: what Nexus has of them is then deleted. To keep it, take the entity out of the mapping profile.",
    )


def _if_right(entity: str, share: float) -> str:
    """What to write where so many records rightly went."""
    least = max(int(share * 100) / 100, 0.0)
    return f"If so many rightly went, write `source_shrunk: {{least_of: {{{entity}: {least}}}}}` into RULES_FILE."


def read_before(cursor: Cursor, catalogue: Catalogue, reported: Reported, registry: Registry) -> Before:
    """Count what there is.

    Args:
        registry: the entities that are or will be loaded.
        reported: which number of the last one counts: records that FileMaker had, or rows that were loaded.
    """
    in_nexus = {}
    for entity in staged(registry):
        table = entity.files or entity.table
        if not catalogue.has(table):
            continue
        if entity.files and file_id_type(catalogue, entity.files) == "other":
            continue  # no record of FileMaker's can be found there, so none is missing either
        condition = sql.SQL(" WHERE filemaker_id IS NOT NULL" if entity.files else "")
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(catalogue.table(table).identifier) + condition)
        in_nexus[entity.name] = count(cursor)
    return Before(in_nexus, {ends["entity"]: int(ends[reported]) for ends in _last_sources(cursor)})


# The newest first, without their reports, which are large. A sync that changed nothing counts too, because its records
# are those that Nexus agrees with. It has no `committed_at`.
_DONE = {
    "reimports": "SELECT started_at, id, started_at, backup_id::text FROM fm_pipeline.reimports ORDER BY 1 DESC",
    "syncs": "SELECT created_at, id, coalesce(committed_at, created_at), undone_at FROM fm_pipeline.syncs"
    " WHERE status <> 'waits' ORDER BY number DESC",
}


def _last_sources(cursor: Cursor) -> list[dict[str, Any]]:
    """The outcomes of the source rows in the last reimport or sync that was carried out; none when there was none.

    One that a restore or a person has undone does not count: Nexus does not have what it read.
    """
    restores, found = read_restores(cursor.connection), []
    for table, query in _DONE.items():
        if not has_table(cursor, f"fm_pipeline.{table}"):
            continue
        undone_by = restores.undone_by if table == "reimports" else restores.sync_undone_by
        report = sql.SQL("SELECT report -> 'sources' FROM {} WHERE id = %s").format(
            sql.Identifier("fm_pipeline", table)
        )
        cursor.execute(query)
        for at, own_id, *done in cursor.fetchall():
            if undone_by(*done):
                continue
            cursor.execute(report, (own_id,))
            ((sources,),) = cursor.fetchall()
            if sources or table == "reimports":
                found.append((at, sources or []))
                break
    return max(found, key=itemgetter(0))[1] if found else []
