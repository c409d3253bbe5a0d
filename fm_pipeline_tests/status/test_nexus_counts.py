from __future__ import annotations

from fm_pipeline.status.nexus_counts import CountedRows, NexusCounts, read_nexus_counts
from fm_pipeline_tests.support.clinics import MigrationBench, Origin


def table(counts: NexusCounts, label: str) -> CountedRows:
    (found,) = [each for each in counts.tables if each.label == label]
    return found


def defects(counted: CountedRows) -> dict[str, int]:
    return {defect.what: defect.rows for defect in counted.defects}


def test_the_rows_of_today_and_what_is_missing_in_them_are_counted(
    reimported_once: Origin, bench: MigrationBench
) -> None:
    before = read_nexus_counts(bench.settings)
    bench.execute("UPDATE patients SET clinic_id = NULL WHERE id IN (SELECT id FROM patients ORDER BY id LIMIT 3)")
    bench.execute("UPDATE patients SET filemaker_metadata = '{}' WHERE id = (SELECT min(id::text)::uuid FROM patients)")
    bench.execute(
        "UPDATE appointments SET clinician_id = NULL, appointment_type_id = NULL"
        " WHERE id IN (SELECT id FROM appointments WHERE clinician_id IS NOT NULL ORDER BY id LIMIT 2)"
    )
    bench.execute(
        "UPDATE images_batch SET object_id = gen_random_uuid()"
        " WHERE id = (SELECT batch_id FROM images_image ORDER BY id LIMIT 1)"
    )
    after = read_nexus_counts(bench.settings)

    def more(label: str, what: str) -> int:
        return defects(table(after, label))[what] - defects(table(before, label))[what]

    assert (table(after, "patients").rows, table(before, "patients").rows) == (80, 80)
    assert more("patients", "without a clinic") == 3
    assert more("patients", "without FileMaker's metadata") == 1
    assert more("appointments", "without a clinician") == 2
    assert more("image batches", "without a patient") == 1
    assert more("images", "without a patient") >= 1
    assert table(before, "documents").linked == table(before, "documents").rows == 204
    assert sum(after.patients_by["clinic"].values()) == 80
    assert after.patients_by["clinic"]["(none)"] == 3
    assert before.last_read is not None
    assert before.last_reimport is not None
    assert before.last_backup is not None


def test_a_database_that_is_new_to_the_pipeline_is_counted_and_not_migrated(bench: MigrationBench) -> None:
    counts = read_nexus_counts(bench.settings)
    assert table(counts, "patients").rows > 0
    assert (counts.last_reimport, counts.last_backup) == (None, None)
    assert bench.execute("SELECT to_regnamespace('fm_pipeline')::text") == [(None,)]
