"""Tables and columns of other applications that hang on Nexus' own: understood, or refused with what to decide."""

from __future__ import annotations

import pytest

from fm_pipeline.errors import CatalogueStop, ValidationStop
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.preflight.finding import stops
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline_tests.nexus.backup.restoring import give_back
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.second_rows import add_second_row

GONE = "SELECT id FROM patients p WHERE p.id NOT IN (SELECT nexus_id FROM fm_pipeline.staged_patients)"
REFUSED = {
    "a_key_of_a_partition_alone": (
        "CREATE TABLE visits (id integer, patient_id uuid) PARTITION BY RANGE (id);"
        "CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (10);"
        "ALTER TABLE visits_1 ADD CONSTRAINT of_one FOREIGN KEY (patient_id) REFERENCES patients",
        r"visits_1 \(of_one\)",
        "DROP TABLE visits",
    ),
    "a_reference_that_postgresql_computes": (
        "CREATE TABLE visits (id serial PRIMARY KEY, about jsonb, patient_id uuid"
        " GENERATED ALWAYS AS ((about ->> 'patient')::uuid) STORED CONSTRAINT computed REFERENCES patients);"
        "INSERT INTO visits (about) SELECT jsonb_build_object('patient', id) FROM (GONE) g",
        r"visits.patient_id \(computed\) point to rows of patients",
        "DROP TABLE visits",
    ),
    "a_table_without_a_key": (
        "CREATE TABLE visits (patient_id uuid REFERENCES patients); INSERT INTO visits GONE",
        "visits has no primary key",
        "DROP TABLE visits",
    ),
    "a_type_that_is_never_empty": (
        "CREATE DOMAIN patient_id AS uuid CONSTRAINT given NOT NULL;"
        "CREATE TABLE visits (id serial PRIMARY KEY, patient_id patient_id REFERENCES patients);"
        "INSERT INTO visits (patient_id) GONE",
        r"visits.patient_id .* the column may not be empty",
        "DROP TABLE visits; DROP DOMAIN patient_id",
    ),
    "a_type_that_must_be_given": (
        "CREATE DOMAIN ward AS text NOT NULL; CREATE DOMAIN wing AS ward; ALTER TABLE notes ADD wing wing DEFAULT 'a';"
        "ALTER TABLE notes ALTER wing DROP DEFAULT",
        "columns that must be given and that the pipeline does not know: wing",
        "ALTER TABLE notes DROP wing; DROP DOMAIN wing; DROP DOMAIN ward",
    ),
    "an_id_that_is_a_text": (
        "ALTER TABLE images_batch ALTER object_id TYPE varchar(36); ALTER TABLE notes ALTER id TYPE varchar(36)",
        r"notes.id is character varying\(36\) and not uuid, images_batch.object_id is",
        "ALTER TABLE images_batch ALTER object_id TYPE uuid USING object_id::uuid;"
        "ALTER TABLE notes ALTER id TYPE uuid USING id::uuid",
    ),
    "a_time_without_a_zone": (
        "ALTER TABLE appointments ALTER start_time TYPE timestamp USING start_time AT TIME ZONE 'Australia/Sydney'",
        "appointments.start_time is timestamp without time zone",
        "ALTER TABLE appointments ALTER start_time TYPE timestamptz USING start_time AT TIME ZONE 'Australia/Sydney'",
    ),
    "a_time_without_its_hour": (
        "ALTER TABLE appointments RENAME start_time TO kept; ALTER TABLE appointments ADD start_time date;"
        "ALTER TABLE notes RENAME created_at TO kept; ALTER TABLE notes ADD created_at date",
        "appointments.start_time is date, notes.created_at is date",
        "ALTER TABLE appointments DROP start_time; ALTER TABLE appointments RENAME kept TO start_time;"
        "ALTER TABLE notes DROP created_at; ALTER TABLE notes RENAME kept TO created_at",
    ),
    "a_day_that_is_a_point_in_time": (
        "ALTER TABLE patients ALTER dob TYPE timestamptz USING dob::timestamp AT TIME ZONE 'Australia/Sydney'",
        "days as points in time: patients.dob is timestamp with time zone",
        "ALTER TABLE patients ALTER dob TYPE date USING (dob AT TIME ZONE 'Australia/Sydney')::date",
    ),
    "metadata_that_cannot_be_merged": (
        "ALTER TABLE patients ALTER filemaker_metadata TYPE json",
        "patients.filemaker_metadata is json and not jsonb",
        "ALTER TABLE patients ALTER filemaker_metadata TYPE jsonb",
    ),
    "a_fed_column_that_postgresql_computes": (
        "ALTER TABLE patients RENAME middle_names TO kept;"
        "ALTER TABLE patients ADD middle_names varchar(100) GENERATED ALWAYS AS (upper(kept)) STORED",
        "PostgreSQL computes the column middle_names of patients",
        "ALTER TABLE patients DROP middle_names; ALTER TABLE patients RENAME kept TO middle_names",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.hard_case(10)
def test_a_dependant_that_no_rule_covers_stops_and_is_named(staged: MigrationBench, case: str) -> None:
    made, match, undo = REFUSED[case]
    staged.execute(made.replace("GONE", GONE))
    before = staged.digests()
    try:
        with pytest.raises(CatalogueStop, match=match):
            staged.plan()
        assert staged.digests() == before
    finally:
        staged.execute(undo)


def test_all_dependants_that_would_lose_their_patient_are_named_at_once(staged: MigrationBench) -> None:
    made = (
        "CREATE TABLE patients_vip (patient_ptr_id uuid PRIMARY KEY REFERENCES patients);"
        "INSERT INTO patients_vip GONE;"
        "CREATE TABLE tagged (id serial PRIMARY KEY, object_id uuid NOT NULL, content_type_id integer NOT NULL"
        " REFERENCES django_content_type); INSERT INTO tagged (object_id, content_type_id)"
        " SELECT g.id, c.id FROM (GONE) g, django_content_type c WHERE c.model = 'patient'"
    )
    staged.execute(made.replace("GONE", GONE))
    try:
        with pytest.raises(CatalogueStop, match=r"may not be empty") as caught:
            staged.plan()
        for column in ("patients_vip.patient_ptr_id", "tagged.object_id"):
            assert f"of {column} (" in caught.value.what
        assert "such rows of patients_vip, tagged," in caught.value.remedy
    finally:
        staged.execute("DROP TABLE patients_vip, tagged")


@pytest.mark.parametrize("table", ["patients", "documents_document", "images_batch", "images_image", "clinics"])
def test_a_table_that_nexus_has_always_had_and_that_is_gone_is_named(staged: MigrationBench, table: str) -> None:
    staged.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    try:
        with pytest.raises(CatalogueStop, match=f"The schema public has no table {table}"):
            staged.plan()
    finally:
        staged.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


@pytest.mark.parametrize(
    "column", ["documents_document.content_type_id", "images_image.batch_id", "django_content_type.model", "clinics.id"]
)
def test_a_column_that_nexus_has_always_had_and_that_is_gone_is_named_by_the_plan_and_the_check(
    staged: MigrationBench, column: str
) -> None:
    table, name = column.split(".")
    staged.execute(f"ALTER TABLE {table} RENAME {name} TO elsewhere")
    try:
        with pytest.raises(CatalogueStop, match=f"The schema public has no column {column}"):
            staged.plan()
        assert any(column in finding.found for finding in stops(preflight(staged.settings)))
    finally:
        staged.execute(f"ALTER TABLE {table} RENAME elsewhere TO {name}")


def test_a_reimport_stops_when_postgresql_counts_no_rows(staged: MigrationBench) -> None:
    name = staged.database_url.rsplit("/", 1)[1]
    staged.execute(f"ALTER DATABASE {name} SET track_counts = off")
    try:
        with pytest.raises(ValidationStop, match=r"nothing_else_written: .*track_counts is off"):
            staged.plan()
    finally:
        staged.execute(f"ALTER DATABASE {name} RESET track_counts")


@pytest.mark.hard_case(10)
@pytest.mark.usefixtures("staged_once")
def test_references_of_other_applications_are_followed_and_restored(bench: MigrationBench) -> None:
    """django-auditlog's number beside the text id, a table of a tenant with a name of ours, rows known by their id."""
    bench = bench.with_settings(nexus_only_columns="reset")
    tables_of_others = """
        CREATE TABLE auditlog_logentry (id serial PRIMARY KEY, object_pk text, object_id bigint,
            content_type_id integer NOT NULL REFERENCES django_content_type);
        INSERT INTO auditlog_logentry (object_pk, content_type_id)
            SELECT g.id, c.id FROM (GONE) g, django_content_type c WHERE c.model = 'patient';
        CREATE SCHEMA tenant;
        CREATE TABLE tenant.appointments (id uuid PRIMARY KEY,
            patient_id uuid REFERENCES patients DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO tenant.appointments SELECT id, id FROM (GONE) g;
        CREATE TABLE visits (id integer NOT NULL, patient_id uuid REFERENCES patients) PARTITION BY LIST (patient_id);
        CREATE TABLE visits_of_all PARTITION OF visits DEFAULT;
        INSERT INTO visits SELECT row_number() OVER (), id FROM (GONE) g;
        ALTER TABLE patients ADD "rate %" numeric, ADD "{}%(now)s" text, ADD options json, ADD place point;
        UPDATE patients SET "rate %" = 1, options = '{}', place = '(1,2)'
    """
    bench.execute(tables_of_others.replace("GONE", GONE))
    tables = ("patients", "auditlog_logentry", "tenant.appointments", "visits")
    before = [bench.execute(f"SELECT * FROM {table} ORDER BY id") for table in tables]  # noqa: S608
    bench.reimport()
    after = [bench.execute(f"SELECT * FROM {table} ORDER BY id") for table in tables]  # noqa: S608
    assert after[1] == before[1]
    assert {row[-1] for row in after[2] + after[3]} == {None}
    folder = list_backups(bench.settings)[0].folder
    shown = restore(bench.settings, folder, confirm="", dry_run=True)
    restore(bench.settings, folder, confirm=shown.confirmation)
    assert [bench.execute(f"SELECT * FROM {table} ORDER BY id") for table in tables] == before  # noqa: S608


@pytest.mark.usefixtures("staged_once")
def test_columns_computed_from_the_patient_of_a_file_follow_it_and_are_restored(
    bench: MigrationBench,
) -> None:
    for table in ("documents_document", "images_batch"):
        bench.execute(
            f"ALTER TABLE {table} ADD owner text GENERATED ALWAYS AS (object_id::text) STORED,"
            " ADD owner_now uuid GENERATED ALWAYS AS (object_id) VIRTUAL"
        )
    before = bench.digests()
    report = bench.reimport()
    assert all(done and done.relinked for done in (report.documents, report.batches))
    assert bench.digests() != before
    give_back(bench, list_backups(bench.settings)[0].folder)
    assert bench.digests() == before


# The key of a table's rows holds the id of a patient: Django's multi-table inheritance and OneToOneField(primary_key),
# its CompositePrimaryKey, a table partitioned by patients.
KEYS = {
    "patients_vip.patient_ptr_id": "CREATE TABLE patients_vip (patient_ptr_id uuid PRIMARY KEY REFERENCES patients"
    " DEFERRABLE INITIALLY DEFERRED, level integer NOT NULL DEFAULT 1); INSERT INTO patients_vip VALUES ('ID')",
    "patient_tags.patient_id": "CREATE TABLE patient_tags (patient_id uuid REFERENCES patients, tag text,"
    " PRIMARY KEY (patient_id, tag)); INSERT INTO patient_tags VALUES ('ID', 'red')",
    "visits.patient_id": "CREATE TABLE visits (id integer, patient_id uuid REFERENCES patients,"
    " PRIMARY KEY (id, patient_id)) PARTITION BY HASH (patient_id);"
    "CREATE TABLE visits_0 PARTITION OF visits FOR VALUES WITH (MODULUS 1, REMAINDER 0); INSERT INTO visits VALUES"
    " (1, 'ID')",
    "pins.object_id": "CREATE TABLE pins (content_type_id integer REFERENCES django_content_type,"
    " object_id varchar(36), PRIMARY KEY (content_type_id, object_id));"
    "INSERT INTO pins SELECT id, 'ID' FROM django_content_type WHERE app_label = 'patients' AND model = 'patient'",
}


def _with_second_row(bench: MigrationBench) -> tuple[str, str]:
    """Give a patient a second row, which a reimport merges into the first; the ids of both."""
    ((first,),) = bench.execute(
        "SELECT id::text FROM patients WHERE filemaker_metadata ->> 'filemaker_id' <> '' ORDER BY id LIMIT 1"
    )
    return first, add_second_row(bench, first)


@pytest.mark.parametrize("column", KEYS)
@pytest.mark.usefixtures("staged_once")
def test_a_primary_key_with_the_id_of_a_merged_row_stops_because_a_restore_could_not_find_the_row(
    bench: MigrationBench, column: str
) -> None:
    first, second = _with_second_row(bench)
    bench.execute(KEYS[column].replace("ID", second))
    bench.extract_and_stage()
    before = bench.digests()
    with pytest.raises(CatalogueStop, match=f"1 row of {column} .* part of the primary key") as stop:
        bench.plan()
    assert f"{second} → {first}" in stop.value.remedy
    assert bench.digests() == before


@pytest.mark.usefixtures("staged_once")
def test_a_primary_key_with_such_an_id_and_without_a_foreign_key_stays_and_is_reported(bench: MigrationBench) -> None:
    _, second = _with_second_row(bench)
    bench.execute("CREATE TABLE contacts (patient_uuid varchar(36) PRIMARY KEY, told text)")
    bench.execute("INSERT INTO contacts VALUES (%s, 'by post')", second)
    bench.extract_and_stage()
    before = bench.digests()
    report = bench.reimport()
    assert bench.digests()["contacts"] == before["contacts"]
    assert [(each["column"], each["kept"]) for each in report.references if each["table"] == "contacts"] == [
        ("patient_uuid", 1)
    ]
    give_back(bench, list_backups(bench.settings)[0].folder)
    assert bench.digests() == before
