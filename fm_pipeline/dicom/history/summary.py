"""Counts of a job by outcome, reason, modality and month. They hold no names and no ids, for logs and Dagster."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.history import count_flags
from fm_pipeline.dicom.history.jobs import Job, read_job
from fm_pipeline.dicom.model import Outcome

# DICOM PS3.3, C.7.3.1.1.1 "Modality", defined terms. Any other value may be free text.
_TERMS = """
    ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DMS DG DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT IVUS
    KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE
    RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA
    XAPROTOCOL XC
"""
MODALITIES = frozenset(_TERMS.split())
OTHER = "other"
UNKNOWN = "unknown"
_MONTH = re.compile(r"(19|20)\d\d-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class JobSummary:
    """A job and its counts.

    Attributes:
        by_reason: files that are not in Orthanc, by outcome and reason; the most frequent first.
        by_modality, by_month: files of the job that Orthanc holds.
        by_flag: files that a person should look at; the most frequent first.
    """

    job: Job
    by_reason: dict[tuple[str, str], int]
    by_modality: dict[str, int]
    by_month: dict[str, int]
    by_flag: dict[str, int]
    imported_bytes: int

    @property
    def in_orthanc(self) -> int:
        """The number of instances of the job that Orthanc holds, new and old."""
        return sum(self.by_modality.values())

    @property
    def failures(self) -> int:
        """The number of files whose bytes should be in Orthanc and are not."""
        outcomes = self.job.outcomes
        return sum(outcomes[each] for each in (Outcome.BAD, Outcome.FAILED, Outcome.CONFLICT, Outcome.SUSPECT))

    @property
    def failure_percent(self) -> float:
        """The failures in percent of the processed files."""
        return 100 * self.failures / self.job.files_processed if self.job.files_processed else 0.0


def summarize(database_url: str, job_id: int) -> JobSummary:
    """Read the counts of a job."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        job = read_job(cursor, job_id)
        cursor.execute(
            "SELECT status, coalesce(reason, ''), count(*) FROM fm_pipeline.import_history"
            " WHERE job_id = %s AND status NOT IN ('imported', 'already_there', 'duplicate')"
            " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
            (job_id,),
        )
        by_reason = {(status, reason): count for status, reason, count in cursor.fetchall()}
        by_flag = count_flags(cursor, job_id)
        cursor.execute(
            "SELECT modality, study_month, count(*),"
            " coalesce(sum(file_size_bytes) FILTER (WHERE status = 'imported'), 0)::bigint"
            " FROM fm_pipeline.import_history WHERE job_id = %s AND status IN ('imported', 'already_there')"
            " GROUP BY 1, 2",
            (job_id,),
        )
        modalities, months, size = Counter[str](), Counter[str](), 0
        for modality, month, count, stored in cursor.fetchall():
            modalities[modality_name(modality)] += count
            months[month if month and _MONTH.fullmatch(month) else UNKNOWN] += count
            size += stored
    return JobSummary(job, by_reason, dict(modalities.most_common()), dict(sorted(months.items())), by_flag, size)


def modality_name(code: str | None) -> str:
    """Return a modality if it is one of the standard; any other text is not repeated."""
    if not code:
        return UNKNOWN
    return code if code in MODALITIES else OTHER
