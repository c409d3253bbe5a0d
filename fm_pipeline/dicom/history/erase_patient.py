"""Takes a patient out of the history of DICOM imports: Patient IDs, names, and paths, which may contain names.

A row of the history stays, with the hash of its path, sizes, times and the instance's UIDs: it is what keeps a file
from being imported again. So does a row of the ledger of the FTP server, which keeps the file from being pulled again.
They hold no Patient ID, name or path. A hash of each Patient ID is added: it keeps out the files of the patient that no
row names, because they failed or had other UIDs. Who has a list of Patient IDs finds the erased ones by these hashes.
A file that is kept out later is in the history like any other, with its Patient ID and path, until the next erasure.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.history.erased_ids import EMPTY, keep_out, known_ids, spellings
from fm_pipeline.dicom.model import orthanc_id
from fm_pipeline.dicom.paths import erased_remote_path, printable
from fm_pipeline.errors import RequestError

# What takes the place of a path. No such directory exists, so whoever uses it as one gets an error.
ERASED = "/erased"
_HISTORY = """
UPDATE fm_pipeline.import_history SET file_path = %(erased)s, file_name = 'erased', patient_id = NULL,
    orthanc_patient_id = NULL, study_month = NULL, missing_since = NULL,
    -- Orthanc should no longer have the instance, so no comparison looks for it there.
    removed_at = CASE WHEN orthanc_instance_id IS NOT NULL THEN coalesce(removed_at, clock_timestamp()) END
WHERE patient_id = ANY(%(patients)s) OR orthanc_patient_id = ANY(%(hashes)s)
   OR file_path = ANY(%(files)s) OR file_path = ANY(%(folders)s)
   OR EXISTS (SELECT FROM unnest(%(folders)s::text[]) f WHERE starts_with(file_path, f || '/'))
RETURNING path_hash::text
"""
_CHUNKS = """
UPDATE fm_pipeline.import_chunks SET paths = ARRAY(
    SELECT p FROM unnest(paths) WITH ORDINALITY AS listed (p, place) WHERE NOT (
        p = ANY(%(files)s) OR p = ANY(%(folders)s)
        OR EXISTS (SELECT FROM unnest(%(folders)s::text[]) f WHERE starts_with(p, f || '/'))) ORDER BY place)
WHERE paths && %(files)s::text[] OR EXISTS (SELECT FROM unnest(paths) p, unnest(%(folders)s::text[]) f
                                            WHERE p = f OR starts_with(p, f || '/'))
"""
_PATIENTS = """
DELETE FROM fm_pipeline.import_patients p WHERE patient_id = ANY(%(patients)s) OR (patient_id = ANY(%(read_as)s)
    AND patient_id NOT IN (SELECT patient_id FROM fm_pipeline.import_history WHERE patient_id = ANY(%(read_as)s)))
"""
_BELOW = "{0} = ANY(%(folders)s) OR EXISTS (SELECT FROM unnest(%(folders)s::text[]) f WHERE starts_with({0}, f || '/'))"


def erase_patient_files(cursor: Cursor, patient_ids: Sequence[str], roots: Collection[str]) -> dict[str, int]:
    """Take these Patient IDs, and the folders that hold nothing of other patients, out of the pipeline's tables.

    From now on incremental imports keep out files of these patients, but for Patient IDs that no import has met.

    Args:
        cursor: the caller owns the transaction.
        patient_ids: Patient IDs (0010,0020), as the files have them or as Orthanc shows them.
        roots: the allowed directories. Neither they nor their parents belong to one patient.

    Returns:
        How many rows were changed or removed, by table of the schema `fm_pipeline`; tables without rows are left out,
        and so are the rows that keep files out.

    Raises:
        RequestError: a Patient ID is empty; or an import is waiting or at work: it holds paths that would be written
            again.
    """
    given, patient_ids = patient_ids, sorted({text for each in patient_ids for text in spellings(each)})
    if not patient_ids:
        return {}
    cursor.execute("SELECT count(*) FROM fm_pipeline.import_jobs WHERE status IN ('pending', 'running')")
    if cursor.fetchone() != (0,):
        raise RequestError(
            "An import of DICOM files is waiting or at work.",
            meaning="It would write the patient's paths again. Nothing was removed.",
            remedy="Wait until it has ended, or cancel it (fm-pipeline dicom cancel), and start again.",
        )
    known = [each.given for each in known_ids(cursor, given) if each.is_known]
    # Orthanc may read a Patient ID in another character set than the history, and users know it as Orthanc shows it.
    hashes = [orthanc_id(each) for each in patient_ids]
    cursor.execute(
        "SELECT h.file_path, j.source_path, h.patient_id FROM fm_pipeline.import_history h"
        " JOIN fm_pipeline.import_jobs j ON j.id = h.job_id"
        " WHERE h.patient_id = ANY(%s) OR h.orthanc_patient_id = ANY(%s)",
        (list(patient_ids), hashes),
    )
    found = cursor.fetchall()
    files = {path: source for path, source, _ in found}
    cursor.execute("SELECT directory FROM fm_pipeline.watched_roots")
    shared = {*map(printable, roots), *(root for (root,) in cursor.fetchall())}
    folders = _folders_of_nobody_else(cursor, patient_ids, _folders(files, shared))
    cursor.execute(  # a sender may use a name again for a file of another patient
        "SELECT file_path FROM fm_pipeline.import_history WHERE file_path = ANY(%s) AND patient_id <> ALL(%s)"
        " AND coalesce(orthanc_patient_id, '') <> ALL(%s)",
        (list(files), list(patient_ids), hashes),
    )
    for (path,) in cursor.fetchall():
        files.pop(path, None)
    values: dict[str, object] = {
        "patients": list(patient_ids),
        "hashes": hashes,
        "read_as": [read_as for _, _, read_as in found],
        "folders": folders,
        "files": list(files),
        "erased": ERASED,
    }
    rows: dict[str, int] = {}

    def change(table: str, statement: str) -> None:
        cursor.execute(statement, values)
        if cursor.rowcount:
            rows[table] = cursor.rowcount

    change("import_history", _HISTORY)
    if pulled := _pulled(cursor, files, folders, {key for (key,) in cursor.fetchall()}):
        rows["ftp_files"] = len(pulled)
        for own_id, server, remote in pulled:
            hashed = erased_remote_path(remote)
            cursor.execute("DELETE FROM fm_pipeline.ftp_files WHERE (server, remote_path) = (%s, %s)", (server, hashed))
            cursor.execute("UPDATE fm_pipeline.ftp_files SET remote_path = %s WHERE id = %s", (hashed, own_id))
    change(
        "import_job_files",
        f"DELETE FROM fm_pipeline.import_job_files WHERE file_path = ANY(%(files)s) OR {_BELOW.format('file_path')}"  # noqa: S608  # our own words
        " RETURNING job_id",
    )
    # Without a list a job is one for its whole directory.
    values["jobs"] = [job_id for (job_id,) in cursor.fetchall()]
    for table in ("watched_directories", "import_unreadable_directories"):
        change(table, f"DELETE FROM fm_pipeline.{table} WHERE {_BELOW.format('directory')}")  # noqa: S608
    change(
        "import_jobs",
        f"UPDATE fm_pipeline.import_jobs j SET source_path = %(erased)s WHERE {_BELOW.format('source_path')}"  # noqa: S608
        " OR (id = ANY(%(jobs)s) AND NOT EXISTS (SELECT FROM fm_pipeline.import_job_files f WHERE f.job_id = j.id))",
    )
    change("import_chunks", _CHUNKS)
    change("import_patients", _PATIENTS)
    # The next file is compared by what the pipeline reads, before Orthanc has seen it.
    keep_out(cursor, [*known, *(read_as for _, _, read_as in found if read_as and read_as.strip(EMPTY))])
    return rows


def _folders(files: dict[str, str], shared: Collection[str]) -> set[str]:
    """Return all folders above these files, strictly below a shared one; an archive's members are in `archive!`."""
    found: set[str] = set()
    for path, source in files.items():
        above = [root for root in shared if path.startswith(root.rstrip("/") + "/")] or [source]
        longest = max(map(len, above))
        folder = os.path.dirname(path)
        while len(folder) > longest:
            found.add(folder)
            folder = os.path.dirname(folder)
    return found


def _folders_of_nobody_else(cursor: Cursor, patient_ids: Sequence[str], folders: set[str]) -> list[str]:
    """Return the folders and archives that hold no file of another patient, without those below another one."""
    # The history is read once: its paths have no index, and a patient may have many folders.
    cursor.execute(
        "SELECT DISTINCT substring(file_path FROM '^(.*)/') FROM fm_pipeline.import_history"
        " WHERE patient_id IS NOT NULL AND patient_id <> ALL(%s) AND coalesce(orthanc_patient_id, '') <> ALL(%s)",
        (list(patient_ids), [orthanc_id(each) for each in patient_ids]),
    )
    own = set(folders)
    for (folder,) in cursor:
        own.difference_update(_with_parents(folder or ""))
    found = sorted(folder for folder in own if own.isdisjoint(_with_parents(os.path.dirname(folder))))
    return found + [folder.removesuffix("!") for folder in found if folder.endswith("!")]


def _with_parents(folder: str) -> Iterator[str]:
    """Yield a folder and every folder above it."""
    while folder not in {"", "/"}:
        yield folder
        folder = os.path.dirname(folder)


def _pulled(
    cursor: Cursor, files: Collection[str], folders: Sequence[str], path_hashes: Collection[str]
) -> list[tuple[int, str, bytes]]:
    """Return the rows of the patient's files in the ledger of the FTP server: id, server, path there.

    Args:
        path_hashes: of the patient's files. By them those are found that were pulled before the folder was changed.
    """
    cursor.execute("SELECT hospital_data_path, ftp_folder, ftp_path FROM fm_pipeline.sync_configuration")
    configured = cursor.fetchone()
    here, there = "", "/"
    if configured is not None and configured[0]:
        here, there = os.path.join(*configured[:2]), configured[2].rstrip("/") + "/"
    cursor.execute("SELECT id, server, remote_path, local_hash::text FROM fm_pipeline.ftp_files")
    found = []
    for own_id, server, remote, local_hash in cursor.fetchall():
        path = printable(os.path.join(here, os.fsdecode(bytes(remote)).removeprefix(there)))
        below = path in files or any(path.startswith(f"{folder}/") for folder in folders)
        if local_hash in path_hashes or (here and below):
            found.append((own_id, server, bytes(remote)))
    return found
