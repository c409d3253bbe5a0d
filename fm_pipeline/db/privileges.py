"""The privileges of the current role on tables, checked before anything is done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import quoted_name
from fm_pipeline.db.table import Table

Needs = dict[Table, set[str]]  # privileges as GRANT takes them: UPDATE, or SELECT (id, name)

# Whether the role has each privilege: on the table, or on every column that stands in parentheses.
_HELD = r"""
SELECT n, CASE WHEN columns IS NULL THEN has_table_privilege(name::regclass, privilege)
       ELSE (SELECT bool_and(has_column_privilege(name::regclass, (parse_ident(c))[1], split_part(privilege, ' ', 1)))
             FROM regexp_split_to_table(columns, ', ') c) END
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY p (name, privilege, n),
     substring(privilege FROM '\((.*)\)') columns
ORDER BY n
"""


def select_of(cursor: Cursor, columns: Iterable[str]) -> str:
    """Return the privilege to read these columns of a table and no other one."""
    return f"SELECT ({', '.join(quoted_name(cursor, name) for name in columns)})"


def missing_privileges(cursor: Cursor, needs: Mapping[Table, Collection[str]]) -> Needs:
    """Return the privileges that the role needs and does not have, by table."""
    pairs = [(table, privilege) for table, privileges in needs.items() for privilege in sorted(privileges)]
    cursor.execute(
        _HELD,
        ([table.identifier.as_string(cursor) for table, _ in pairs], [privilege for _, privilege in pairs]),
    )
    missing: Needs = {}
    for (table, privilege), (_, has) in zip(pairs, cursor.fetchall(), strict=True):
        if not has:
            missing.setdefault(table, set()).add(privilege)
    return missing
