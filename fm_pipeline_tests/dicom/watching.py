"""History written as an import would write it, without one."""

from __future__ import annotations

import os
from collections.abc import Iterable

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from fm_pipeline.dicom.model import FoundFile, SetAside
from fm_pipeline.dicom.paths import path_hash, printable
from fm_pipeline.dicom.scan import Met


def record(connection: Connection, met: Iterable[Met], status: str = "imported", job_status: str = "completed") -> int:
    """History of a job that had these files, without a word about what was in them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fm_pipeline.import_jobs (job_type, source_path, requested_by, status)"
            " VALUES ('manual', '/', 'test', %s) RETURNING id",
            (job_status,),
        )
        ((job_id,),) = cursor.fetchall()
        rows = []
        for each in met:
            found = each if isinstance(each, FoundFile) else None
            rows.append(
                (
                    job_id,
                    printable(each.path),
                    printable(os.path.basename(each.path)),
                    path_hash(each.path),
                    found.size if found else None,
                    found.modified_ns if found else None,
                    found.changed_ns if found else None,
                    "skipped" if isinstance(each, SetAside) else status,
                    each.reason if isinstance(each, SetAside) else None,
                )
            )
        execute_values(
            cursor,
            "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, file_size_bytes,"
            " modified_ns, changed_ns, status, reason) VALUES %s",
            rows,
        )
    connection.commit()
    return int(job_id)
