"""The staged table of an entity that a profile adds, and further columns of the others; by the types of Nexus' columns.

The staged tables of the import sequence come from the migrations.
"""

from __future__ import annotations

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma
from fm_pipeline.entities.registry import ENTITIES, Entity
from fm_pipeline.nexus.catalogue.schema import Catalogue

_OWN = {"nexus_id": "uuid PRIMARY KEY", "record_id": "bigint NOT NULL", "filemaker_key": "text NOT NULL UNIQUE"}
_CREATED_AT = {"source_created_at": "timestamp with time zone"}


def make_staged_table(cursor: Cursor, catalogue: Catalogue, entity: Entity) -> None:
    """Bring the staged table of an entity to the columns that it needs; inside the transaction of the build.

    A table whose columns are the right ones is left as it is. Another one is made anew: its rows are replaced anyway.
    """
    columns = catalogue.columns.get(catalogue.table(entity.table), {})
    fed = {name: columns[name].type for name in entity.columns if name in columns and name != "created_at"}
    if entity.made:
        wanted = _OWN | fed | _CREATED_AT
        found = _columns(cursor, entity.staged_table)
        if found == {name: kind.split(" PRIMARY")[0].split(" NOT")[0] for name, kind in wanted.items()}:
            return
        name = sql.Identifier("fm_pipeline", entity.staged_table)
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
        cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(name, _definitions(wanted)))
    elif entity.table:
        shipped = {*ENTITIES[entity.name].staged_columns} if entity.name in ENTITIES else set[str]()
        added = {name: kind for name, kind in fed.items() if name not in shipped}
        found = {n: kind for n, kind in _columns(cursor, entity.staged_table).items() if n not in shipped}
        if found == added:
            return
        name = sql.Identifier("fm_pipeline", entity.staged_table)
        changes = [sql.SQL("DROP COLUMN {}").format(sql.Identifier(each)) for each in found]
        changes += [sql.SQL("ADD COLUMN {}").format(_definitions({each: kind})) for each, kind in added.items()]
        cursor.execute(sql.SQL("ALTER TABLE {} {}").format(name, comma(changes)))


def _columns(cursor: Cursor, table: str) -> dict[str, str]:
    """Columns and types of a table of ours; none where there is no such table."""
    cursor.execute(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
        " WHERE a.attrelid = to_regclass(format('fm_pipeline.%%I', %s::text)) AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY a.attnum",
        (table,),
    )
    return dict(cursor.fetchall())


def _definitions(columns: dict[str, str]) -> sql.Composable:
    return comma(sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(kind)) for n, kind in columns.items())
