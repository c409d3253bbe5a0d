"""The crosswalk maps FileMaker ids to Nexus ids, so that a patient keeps its Nexus id in every reimport.

No FileMaker id is ever removed from it. Before staging, the ids that Nexus has (metadata, older JSON in notes, id
columns) are added. Rows without a FileMaker id in Nexus (notes, messages) are matched by their content.
"""

from __future__ import annotations

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.commit import commit_without_waiting
from fm_pipeline.db.queries import column_list, count
from fm_pipeline.db.table import Table
from fm_pipeline.entities.registry import ENTITIES, Registry, loaded
from fm_pipeline.nexus.catalogue.file_ids import file_id_type, id_key, is_uuid, same_record
from fm_pipeline.nexus.catalogue.hidden_rows import is_marked
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.catalogue.table_details import columns_of
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS, IMAGES

# A patient's FileMaker id: in the metadata, or in older rows only as JSON in the text of the notes. A nondeterministic
# collation (Django's `db_collation`) allows no pattern matching, so the column's own collation is not used.
PATIENT_KEYS = """
SELECT p.id, p.created_at,
       lower(btrim(coalesce(nullif(btrim(p.filemaker_metadata ->> 'filemaker_id'), ''),
                            substring(p.notes COLLATE "C" from '"filemaker_id"\\s*:\\s*"([^"]+)"')
                  )) COLLATE "default") AS key,
       CASE WHEN nullif(btrim(p.filemaker_metadata ->> 'filemaker_id'), '') IS NULL
            THEN 'notes' ELSE 'metadata' END AS origin
FROM {patients} p
"""

_NEVER = sql.SQL("false")


def is_hidden(catalogue: Catalogue, patient: sql.Composable) -> sql.Composed:
    """Return the condition that users do not see a patient; see `is_marked`.

    Args:
        patient: an expression of a patient's Nexus id.
    """
    patients = catalogue.table("patients")
    types = {name: column.type for name, column in catalogue.columns[patients].items()}
    return sql.SQL("EXISTS (SELECT FROM {} h WHERE h.id = {} AND {})").format(
        patients.identifier, patient, is_marked(types, "h")
    )


def shown_and_older_first(catalogue: Catalogue, row: str) -> sql.Composed:
    """Return the order of rows of one FileMaker patient: the first keeps the id, the others are duplicates of it.

    A row that users do not see comes last. Otherwise their patient would vanish with the row that they see.

    Args:
        row: alias of a query of `PATIENT_KEYS`.
    """
    hidden = is_hidden(catalogue, sql.Identifier(row, "id"))
    return sql.SQL("{}, {row}.created_at, {row}.id").format(hidden, row=sql.Identifier(row))


def fill_crosswalk(connection: Connection, catalogue: Catalogue, registry: Registry = ENTITIES) -> dict[str, int]:
    """Add all ids that Nexus has and the crosswalk does not have yet; see `fill_patients` and `fill_others`."""
    return fill_patients(connection, catalogue) | fill_others(connection, catalogue, registry)


def fill_patients(connection: Connection, catalogue: Catalogue) -> dict[str, int]:
    """Add the patients of Nexus that the crosswalk does not have yet, in a transaction of its own.

    Of two patients with the same FileMaker id, the one that the crosswalk knows keeps it, else the older one, unless it
    is archived or marked as deleted and the other one is not. The other one's Nexus id becomes a retired id, so that
    references to it are re-pointed. So does the earlier id of a patient who was loaded again under a new one.

    Returns:
        How many rows are new in the crosswalk (`patient`), and how many ids are `retired`.
    """
    with connection.cursor() as cursor:
        commit_without_waiting(cursor)
        _lock_crosswalk(cursor)
        patients = catalogue.table("patients")
        in_order, new = shown_and_older_first(catalogue, "u"), {"patient": 0, "retired": 0}
        if _find_unmapped(cursor, "patient", sql.SQL(PATIENT_KEYS).format(patients=patients.identifier)):
            hides = sql.SQL("{} AND NOT {}").format(
                is_hidden(catalogue, sql.SQL("c.nexus_id")), is_hidden(catalogue, sql.SQL("u.id"))
            )
            _follow(cursor, "patient", patients, in_order=in_order, also_if=hides)
            new["patient"] = _take_over(cursor, "patient", in_order=in_order)
            cursor.execute(
                "INSERT INTO fm_pipeline.retired_patient_ids (nexus_id, filemaker_key, origin)"
                " SELECT u.id, u.key, 'duplicate' FROM unmapped u JOIN fm_pipeline.crosswalk c"
                " ON c.entity = 'patient' AND c.filemaker_key = u.key AND c.nexus_id <> u.id"
                " ON CONFLICT DO NOTHING"
            )
            new["retired"] = cursor.rowcount
    connection.commit()
    return new


def fill_others(connection: Connection, catalogue: Catalogue, registry: Registry) -> dict[str, int]:
    """The same for appointments, documents and images, and tables of a profile: what Nexus knows by an id column.

    Args:
        registry: of the profile, as it fits the catalogue.

    Returns:
        How many rows are new in the crosswalk, by entity.
    """
    new = {}
    with connection.cursor() as cursor:
        commit_without_waiting(cursor)
        _lock_crosswalk(cursor)
        # Documents and images too: if Nexus ever loses their FileMaker ids, this is where they survive.
        added = tuple((e.name, e.table, e.id_column) for e in loaded(registry) if e.made and e.id_column)
        for entity, table, column in (
            ("appointment", "appointments", "filemaker_event_id"),
            ("document", DOCUMENTS, "filemaker_id"),
            ("image", IMAGES, "filemaker_id"),
            *added,
        ):
            found = catalogue.table(table)
            if table in {DOCUMENTS, IMAGES} and file_id_type(catalogue, table) == "other":
                continue  # a number is no id of a record; as one it would take the place of the real one
            keyed = sql.SQL("SELECT id, {key} AS key, 'column' AS origin FROM {table}").format(
                key=id_key(column, is_uuid=is_uuid(catalogue, table, column)), table=found.identifier
            )
            _fold(cursor, entity, found)
            new[entity] = 0
            if _find_unmapped(cursor, entity, keyed):
                if entity not in {"document", "image"}:
                    _follow(cursor, entity, found, in_order=sql.SQL("u.id"))
                new[entity] = _take_over(cursor, entity, in_order=sql.SQL("u.id"))
                cursor.execute("DROP TABLE unmapped")
    connection.commit()
    return new


def _lock_crosswalk(cursor: Cursor) -> None:
    # New ids are selected first, and inserted in the order of the index. ON CONFLICT for every row, in the order of the
    # table, takes three times as long. So no other session may insert in the meantime.
    cursor.execute("LOCK TABLE fm_pipeline.crosswalk IN SHARE ROW EXCLUSIVE MODE")


def _fold(cursor: Cursor, entity: str, table: Table) -> None:
    """Write keys as `id_key` does. An earlier release wrote them as a column had them; so does its backup, restored.

    The column may have been a text then, and be a uuid now. Of two rows that get the same key, the one whose Nexus row
    exists stays. The index `crosswalk_unfolded` has these rows alone.
    """
    key = id_key("filemaker_key")
    cursor.execute(
        sql.SQL("SELECT count(*) FROM fm_pipeline.crosswalk WHERE entity = %s AND filemaker_key <> {}").format(key),
        (entity,),
    )
    if not count(cursor):
        return
    cursor.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE unfolded ON COMMIT DROP AS
            SELECT c.*, {key} AS key FROM fm_pipeline.crosswalk c
            WHERE c.entity = %(entity)s AND c.filemaker_key <> {key};
            DELETE FROM fm_pipeline.crosswalk c USING unfolded u
            WHERE c.entity = u.entity AND c.filemaker_key = u.filemaker_key;
            INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin, created_at)
            SELECT u.entity, u.key, u.nexus_id, u.origin, u.created_at
            FROM unfolded u LEFT JOIN {table} t ON t.id = u.nexus_id
            WHERE u.key <> '' ORDER BY t.id IS NULL, u.nexus_id
            ON CONFLICT DO NOTHING;
            DROP TABLE unfolded
            """
        ).format(key=key, table=table.identifier),
        {"entity": entity},
    )


def _find_unmapped(cursor: Cursor, entity: str, keyed: sql.Composable) -> bool:
    """Make the temporary table `unmapped` of the rows of Nexus whose key the crosswalk maps to another row, or to none.

    Usually there are none, and one look at all rows is enough.

    Args:
        keyed: a query of `id`, `key` and `origin`.

    Returns:
        Whether there are any; if not, there is no table.
    """
    unmapped = sql.SQL(
        "({keyed}) k WHERE k.key <> '' AND NOT EXISTS (SELECT FROM fm_pipeline.crosswalk c"
        " WHERE c.entity = {entity} AND c.filemaker_key = k.key AND c.nexus_id = k.id)"
    ).format(keyed=keyed, entity=sql.Literal(entity))
    cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(unmapped))
    if not count(cursor):
        return False
    cursor.execute(sql.SQL("CREATE TEMP TABLE unmapped ON COMMIT DROP AS SELECT k.* FROM {}").format(unmapped))
    cursor.execute("ANALYZE unmapped")
    return True


def _follow(
    cursor: Cursor,
    entity: str,
    table: Table,
    *,
    in_order: sql.Composable,
    also_if: sql.Composable = _NEVER,
) -> None:
    """Map a FileMaker id to the new row, if the row that it was mapped to is gone and was loaded again.

    To restore the old row would lose the new one, with its Nexus-only columns and everything linked to it since.

    Args:
        also_if: condition of rows `c` of the crosswalk and `u` on which `u` takes the place of a row that exists.
    """
    cursor.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE followed ON COMMIT DROP AS
            SELECT DISTINCT ON (c.filemaker_key) c.filemaker_key, c.nexus_id AS old_id, u.id AS new_id, u.origin
            FROM fm_pipeline.crosswalk c JOIN unmapped u ON u.key = c.filemaker_key AND u.id <> c.nexus_id
            WHERE c.entity = %(entity)s
              AND (NOT EXISTS (SELECT 1 FROM {table} t WHERE t.id = c.nexus_id) OR {also_if})
              AND NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk o WHERE o.entity = %(entity)s AND o.nexus_id = u.id)
            ORDER BY c.filemaker_key, {in_order};
            UPDATE fm_pipeline.crosswalk c SET nexus_id = f.new_id, origin = f.origin FROM followed f
            WHERE c.entity = %(entity)s AND c.filemaker_key = f.filemaker_key
            """
        ).format(table=table.identifier, in_order=in_order, also_if=also_if),
        {"entity": entity},
    )
    if cursor.rowcount and entity == "patient":
        # An old row that has another key by now is in `unmapped`, and is the patient of that key.
        cursor.execute(
            "DELETE FROM fm_pipeline.retired_patient_ids WHERE nexus_id IN (SELECT new_id FROM followed);"
            "INSERT INTO fm_pipeline.retired_patient_ids (nexus_id, filemaker_key, origin)"
            " SELECT old_id, filemaker_key, 'duplicate' FROM followed"
            " WHERE old_id NOT IN (SELECT id FROM unmapped)"
            " ON CONFLICT (nexus_id) DO UPDATE SET filemaker_key = excluded.filemaker_key, origin = excluded.origin"
        )
    cursor.execute("DROP TABLE followed")


def _take_over(cursor: Cursor, entity: str, *, in_order: sql.Composable) -> int:
    """Insert the unmapped rows whose key and id are both missing in the crosswalk; return how many."""
    cursor.execute(
        sql.SQL(
            """
            INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin)
            SELECT DISTINCT ON (key COLLATE "C") %(entity)s, key, id, origin FROM unmapped u
            WHERE NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk c
                              WHERE c.entity = %(entity)s AND c.filemaker_key = u.key)
              AND NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk c
                              WHERE c.entity = %(entity)s AND c.nexus_id = u.id)
            ORDER BY key COLLATE "C", {in_order}
            """
        ).format(in_order=in_order),
        {"entity": entity},
    )
    return cursor.rowcount


# For object ids that no patient has: the FileMaker patient that their files belong to, by the evidence of the files.
# Contradictory evidence is ignored. These few ids come first, so that evidence is collected for their files only.
_LEARN = """
INSERT INTO fm_pipeline.retired_patient_ids (nexus_id, filemaker_key, origin)
WITH unknown AS MATERIALIZED (
    SELECT files.object_id FROM (SELECT d.object_id FROM {documents} d WHERE d.content_type_id = %(patient_type)s
                           UNION SELECT b.object_id FROM {batches} b WHERE b.content_type_id = %(patient_type)s) files
    WHERE files.object_id IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM {patients} p WHERE p.id = files.object_id)
      AND NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk c WHERE c.entity = 'patient' AND c.nexus_id = files.object_id)
)
SELECT object_id, min(key), min(origin) FROM (
    SELECT unknown.object_id, lower(btrim(d.filemaker_metadata ->> 'filemaker_patient_id')) AS key, 'document' AS origin
    FROM unknown JOIN {documents} d USING (object_id) WHERE d.content_type_id = %(patient_type)s
    UNION ALL
    SELECT unknown.object_id, l.patient_key, 'document'
    FROM unknown JOIN {documents} d USING (object_id) JOIN fm_pipeline.staged_file_links l
         ON l.entity = 'document' AND {same_document}
    WHERE d.content_type_id = %(patient_type)s
    UNION ALL
    SELECT unknown.object_id, l.patient_key, 'image'
    FROM unknown JOIN {batches} b USING (object_id) JOIN {images} i ON i.batch_id = b.id
         JOIN fm_pipeline.staged_file_links l ON l.entity = 'image' AND {same_image}
    WHERE b.content_type_id = %(patient_type)s
) evidence
WHERE key <> ''
GROUP BY object_id HAVING count(DISTINCT key) = 1
ON CONFLICT DO NOTHING
"""


def learn_retired_ids(cursor: Cursor, catalogue: Catalogue, patient_type: int) -> int:
    """Learn patients' ids of earlier reimports from the documents and images that still have them.

    Args:
        cursor: inside a transaction of the caller; `staged_file_links` must be built.
        patient_type: id of the content type patients.patient.

    Returns:
        How many ids were learnt.
    """
    cursor.execute(
        sql.SQL(_LEARN).format(
            documents=catalogue.table(DOCUMENTS).identifier,
            batches=catalogue.table(BATCHES).identifier,
            images=catalogue.table(IMAGES).identifier,
            patients=catalogue.table("patients").identifier,
            same_document=same_record(catalogue, DOCUMENTS, "d"),
            same_image=same_record(catalogue, IMAGES, "i"),
        ),
        {"patient_type": patient_type},
    )
    return cursor.rowcount


def adopt_equal_rows(cursor: Cursor, rows: sql.Identifier, entity: str, table: Table, fed_columns: list[str]) -> int:
    """Give rows without a crosswalk entry the id of a Nexus row that is equal in every column that tells rows apart.

    Notes and messages carry no FileMaker id in Nexus. Of several equal rows each is taken once, in order of record
    ids and Nexus ids. Rows that users do not see come last: the others of several equal ones are deleted.

    Args:
        cursor: inside a transaction of the caller.
        rows: a temporary table with the columns of the staged one.
        table: the Nexus table.

    Returns:
        How many rows were recognised. They are in the crosswalk then, and in the temporary table `adopted`
        (`filemaker_key`, `id`).
    """
    pairs = [("source_created_at" if name == "created_at" else name, name) for name in fed_columns]
    staged = column_list((name for name, _ in pairs), of="s")
    nexus = column_list((name for _, name in pairs), of="t")
    hidden = is_marked({column.name: column.type for column in columns_of(cursor, table)}, "t")
    cursor.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE adopted ON COMMIT DROP AS
            SELECT s.filemaker_key, t.id FROM
              (SELECT filemaker_key, hash, row_number() OVER (PARTITION BY hash ORDER BY record_id) AS n
               FROM (SELECT s.filemaker_key, s.record_id, md5(ROW({staged})::text)::uuid AS hash
                     FROM {rows} s WHERE NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk c
                          WHERE c.entity = %(entity)s AND c.filemaker_key = s.filemaker_key)) h) s
              JOIN
              (SELECT id, hash, row_number() OVER (PARTITION BY hash ORDER BY hidden, id) AS n
               FROM (SELECT t.id, {hidden} AS hidden, md5(ROW({nexus})::text)::uuid AS hash
                     FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk c
                          WHERE c.entity = %(entity)s AND c.nexus_id = t.id)) h) t
              USING (hash, n);
            INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin)
            SELECT %(entity)s, filemaker_key, id, 'content' FROM adopted ORDER BY filemaker_key COLLATE "C"
            """
        ).format(staged=staged, nexus=nexus, rows=rows, table=table.identifier, hidden=hidden),
        {"entity": entity},
    )
    return cursor.rowcount


def record_new_rows(cursor: Cursor, entity: str, staged: sql.Identifier) -> None:
    """Add the staged rows to the crosswalk; part of the transaction that inserts them."""
    cursor.execute(
        sql.SQL(
            "INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin)"
            " SELECT %(entity)s, s.filemaker_key, s.nexus_id, 'new' FROM {} s"
            # Most are there already; to find that out by a conflict takes several times as long.
            " WHERE NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk c"
            " WHERE c.entity = %(entity)s AND c.filemaker_key = s.filemaker_key) ON CONFLICT DO NOTHING"
        ).format(staged),
        {"entity": entity},
    )
