"""The privileges of the current role on tables, checked before anything is done."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.table import Table

Needs = dict[Table, set[str]]


def missing_privileges(cursor: Cursor, needs: Mapping[Table, Collection[str]]) -> Needs:
    """Return the privileges that the role needs and does not have, by table."""
    pairs = [(table, privilege) for table, privileges in needs.items() for privilege in sorted(privileges)]
    cursor.execute(
        "SELECT n, has_table_privilege(name::regclass, privilege)"
        " FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS p (name, privilege, n) ORDER BY n",
        ([table.identifier.as_string(cursor) for table, _ in pairs], [privilege for _, privilege in pairs]),
    )
    missing: Needs = {}
    for (table, privilege), (_, has) in zip(pairs, cursor.fetchall(), strict=True):
        if not has:
            missing.setdefault(table, set()).add(privilege)
    return missing
