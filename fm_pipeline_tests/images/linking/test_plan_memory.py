"""The plan of a link keeps no more images than its limit, however many there are."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, date, datetime

from fm_pipeline.images.exports.metadata_table import MetadataRow
from fm_pipeline.images.linking.copy_ledger import CopyRecord
from fm_pipeline.images.linking.matching import PlannedImage, plan_link
from fm_pipeline.images.nexus.image_index import ImageIndex
from fm_pipeline.images.nexus.patient_index import PatientIndex
from fm_pipeline.storage.bucket import StoredObject

RECORDS, LIMIT = 60, 5
PATIENT = "0000000a-0000-4000-8000-000000000000"
KNOWN = ImageIndex({}, {}, {}, {}, {}, {}, {}, {}, frozenset({PATIENT}), {}, {})
PATIENTS = PatientIndex({}, {PATIENT: PATIENT}, {})
MODIFIED = datetime(2025, 11, 1, tzinfo=UTC)


def held() -> int:
    return sum(isinstance(each, PlannedImage) for each in gc.get_objects())


def test_a_limited_link_plans_no_image_beyond_its_limit() -> None:
    gc.collect()
    before, most = held(), 0  # other tests may have left some

    def records() -> Iterator[tuple[MetadataRow, CopyRecord | None]]:
        nonlocal most
        for recid in range(1, RECORDS + 1):
            failed = CopyRecord(recid, PATIENT, "", "", 1, "", "", None, "failed", None)
            record = MetadataRow(recid, recid, None, PATIENT, "2025-01-01", date(2025, 1, 1), "", "")
            yield record, failed if recid % 2 else None
            most = max(most, held())

    plan = plan_link(
        records(),
        [StoredObject(f"bulk/{recid}.jpg", 1, str(recid), MODIFIED) for recid in range(1, RECORDS + 1)],
        "bulk/",
        PATIENTS,
        KNOWN,
        limits={},
        limit=LIMIT,
        restore_removed=False,
    )
    assert [each.recid for each in plan.planned] == [2, 4, 6, 8, 10]
    assert (plan.total, len(plan.left)) == (RECORDS, RECORDS - LIMIT)
    assert most - before <= 2 * LIMIT
