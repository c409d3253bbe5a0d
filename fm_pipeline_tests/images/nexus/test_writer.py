"""Rows of images in Nexus: what they hold, that none is there twice, and who waits for whom."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from contextlib import closing, nullcontext
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2
import psycopg2.extensions
import pytest
from pydantic import SecretStr

from fm_pipeline.errors import CatalogueStop, DatabaseError, LockStop, ValidationStop
from fm_pipeline.images.nexus.batch_and_image_values import NewImage, batch_id, batch_name
from fm_pipeline.images.nexus.image_index import read_image_index
from fm_pipeline.images.nexus.patient_index import read_patient_index
from fm_pipeline.images.nexus.writer import BATCH_OF_ANOTHER_PATIENT, WriteResult, writing_images
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, Origin
from fm_pipeline_tests.support.proxies.proxy import Moment, cutting_proxy

DAY = dt.date(2016, 11, 5)
KEY = "43669346-9656-4029-a607-e4e8e4386f9e"


@pytest.fixture
def clinic(migrated_once: Origin, bench: MigrationBench) -> MigrationBench:
    """Nexus without images, and a patient whose FileMaker id only the notes hold."""
    bench.execute("DELETE FROM images_image; DELETE FROM images_batch")
    notes = '{"filemaker_id": "' + KEY.upper() + '"}'
    bench.execute("UPDATE patients SET notes = %s, filemaker_metadata = NULL WHERE id = %s", notes, patient_id(bench))
    return bench


def patient_id(bench: MigrationBench, number: int = 0) -> str:
    """The number-th patient."""
    return str(bench.execute("SELECT id FROM patients ORDER BY id OFFSET %s LIMIT 1", number)[0][0])


def an_image(recid: int = 2, **changes: Any) -> NewImage:
    """An image of the patient."""
    patient = changes.get("patient", KEY)
    values = {
        "patient": patient,
        "batch_id": batch_id(patient.lower(), DAY),
        "taken": DAY,
        "s3_key": f"patients/x/{recid}.jpg",
        "original_name": f"{recid}.jpg",
        "size": 7,
        "mime_type": "image/jpeg",
        "recid": recid,
        "category": " Left Dorsal",
    }
    return NewImage(**(values | changes))


def write(bench: MigrationBench, *images: NewImage) -> WriteResult:
    """In a transaction of its own."""
    with writing_images(bench.settings) as writer:
        return writer.write(images, RUN_TIME)


def test_a_batch_is_named_by_its_day_without_a_leading_zero() -> None:
    assert batch_name(dt.date(2016, 10, 18)) == "18 Oct 2016 (FileMaker Import)"
    assert batch_name(DAY) == "5 Nov 2016 (FileMaker Import)"


def test_images_get_their_batch_order_count_and_crosswalk(clinic: MigrationBench) -> None:
    image_uuid = str(uuid.uuid4())
    written = write(clinic, an_image(2, filemaker_id=image_uuid), an_image(3, width=4, height=3))
    assert written.inserted == [0, 1]
    assert written.batches_created == [batch_id(KEY, DAY)]
    assert clinic.execute(
        "SELECT b.id::text, b.name, b.object_id::text, b.image_count, b.description, t.app_label, t.model,"
        " b.uploaded_at FROM images_batch b JOIN django_content_type t ON t.id = b.content_type_id"
    ) == [
        (
            batch_id(KEY, DAY),
            "5 Nov 2016 (FileMaker Import)",
            patient_id(clinic),
            2,
            "",
            "patients",
            "patient",
            RUN_TIME,
        )
    ]
    assert clinic.execute(
        "SELECT s3_key, original_name, file_size, mime_type, category, date_taken, filemaker_id::text, width,"
        ' height, "order" FROM images_image ORDER BY "order"'
    ) == [
        ("patients/x/2.jpg", "2.jpg", 7, "image/jpeg", " Left Dorsal", DAY, image_uuid, None, None, 0),
        ("patients/x/3.jpg", "3.jpg", 7, "image/jpeg", " Left Dorsal", DAY, None, 4, 3, 1),
    ]
    assert set(clinic.execute("SELECT entity, filemaker_key FROM fm_pipeline.crosswalk WHERE origin = 'link'")) == {
        ("image_recid", "2"),
        ("image_recid", "3"),
        ("image", image_uuid),
    }


def test_what_nexus_has_is_recognised_and_never_written_twice(clinic: MigrationBench) -> None:
    image_uuid = str(uuid.uuid4())
    first = write(clinic, an_image(2, filemaker_id=image_uuid), an_image(3))
    before = clinic.digests()
    again = write(clinic, an_image(2), an_image(3), an_image(3), an_image(99, filemaker_id=image_uuid))
    assert again.inserted == []
    assert again.image_ids == {
        0: first.image_ids[0],
        1: first.image_ids[1],
        2: first.image_ids[1],
        3: first.image_ids[0],
    }
    assert clinic.digests() == before
    write(clinic, an_image(1))  # a later one stands behind them
    assert clinic.execute("SELECT image_count FROM images_batch") == [(3,)]
    assert clinic.execute('SELECT "order" FROM images_image WHERE s3_key = %s', "patients/x/1.jpg") == [(2,)]


def test_a_batch_of_an_earlier_link_is_reused(clinic: MigrationBench) -> None:
    write(clinic, an_image(2))
    clinic.execute("DELETE FROM fm_pipeline.crosswalk WHERE entity LIKE 'image%%'")
    clinic.execute(
        "UPDATE images_batch SET id = gen_random_uuid();"
        " UPDATE images_image SET id = gen_random_uuid(), batch_id = (SELECT id FROM images_batch)"
    )
    ((theirs,),) = clinic.execute("SELECT id::text FROM images_batch")
    with clinic.connection() as connection, connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, "public")
        known = read_image_index(cursor, catalogue, "bulk/")
        found = read_patient_index(cursor, catalogue).resolve(KEY)
    assert not isinstance(found, str)
    assert found.matched_by == "notes"
    assert known.batch_for(found.nexus_id, found.key, DAY) == theirs
    image = known.find(2, None, found.nexus_id, DAY)  # by its file's name alone
    assert image is not None
    assert image.batch_id == theirs
    assert known.find(2, None, found.nexus_id, dt.date(2017, 1, 1)) is None
    assert known.find(2, None, patient_id(clinic, 1), DAY) is None
    assert write(clinic, an_image(2, batch_id=theirs), an_image(3, batch_id=theirs)).batches_created == []
    assert clinic.execute("SELECT image_count FROM images_batch") == [(2,)]


@pytest.mark.parametrize(
    ("kind", "time", "elsewhere"),
    [
        ("timestamptz", "2016-11-05 14:30 Australia/Sydney", None),
        ("timestamptz", "2016-11-05 00:00 UTC", None),
        ("timestamptz", "2016-11-04 23:30 UTC", "2016-11-04"),
        ("timestamp", "2016-11-05 23:30", None),
    ],
)
def test_a_files_name_counts_also_where_the_day_of_an_image_is_a_time(
    clinic: MigrationBench, kind: str, time: str, elsewhere: str | None
) -> None:
    """A day that the pipeline writes there is its midnight in the clinic."""
    clinic.execute(f"ALTER TABLE images_image ALTER date_taken TYPE {kind} USING date_taken::{kind}")
    write(clinic, an_image(2))
    ((written,),) = clinic.execute("SELECT date_taken AT TIME ZONE 'UTC' FROM images_image")
    midnight = dt.datetime.combine(DAY, dt.time(), ZoneInfo("Australia/Sydney"))
    assert kind == "timestamp" or written == midnight.astimezone(dt.UTC).replace(tzinfo=None)
    clinic.execute(
        "DELETE FROM fm_pipeline.crosswalk WHERE entity LIKE 'image%%';"
        " UPDATE images_image SET id = gen_random_uuid(), date_taken = %s",
        time,
    )
    with clinic.connection() as connection, connection.cursor() as cursor:
        known = read_image_index(cursor, read_catalogue(cursor, "public"), "bulk/")
    patient = patient_id(clinic)
    for day in {DAY, dt.date.fromisoformat(elsewhere) if elsewhere else DAY}:
        assert known.find(2, None, patient, day) is not None
    assert known.find(2, None, patient, DAY + dt.timedelta(days=1)) is None


def test_a_uuid_counts_more_than_a_files_name_and_of_two_batches_of_a_day_the_older_one_is_used(
    clinic: MigrationBench,
) -> None:
    own, another = str(uuid.uuid4()), str(uuid.uuid4())
    write(clinic, an_image(2, filemaker_id=own))
    ((older,),) = clinic.execute("SELECT id::text FROM images_batch")
    clinic.execute(
        "DELETE FROM fm_pipeline.crosswalk WHERE entity LIKE 'image%%';"
        " UPDATE images_image SET id = gen_random_uuid();"
        " CREATE TEMP TABLE newer AS SELECT * FROM images_batch;"
        " UPDATE newer SET id = gen_random_uuid(), uploaded_at = uploaded_at + interval '1 day';"
        " INSERT INTO images_batch SELECT * FROM newer"
    )
    with clinic.connection() as connection, connection.cursor() as cursor:
        known = read_image_index(cursor, read_catalogue(cursor, "public"), "bulk/")
    patient = patient_id(clinic)
    assert known.find(2, own, patient, DAY) is not None
    assert known.find(2, another, patient, DAY) is None  # the file's name has the number of another image
    assert known.by_name[patient, batch_name(DAY)] == older


def test_nothing_is_put_into_the_batch_of_another_patient(clinic: MigrationBench) -> None:
    other = patient_id(clinic, 1)
    written = write(
        clinic, an_image(2), an_image(3, patient=other, batch_id=batch_id(KEY, DAY)), an_image(4, patient="x")
    )
    assert written.inserted == [0]
    assert written.refused == {1: BATCH_OF_ANOTHER_PATIENT, 2: "patient_unknown"}


def test_no_patient_of_a_new_image_can_go_meanwhile_whoever_else_was_refused_for_its_batch(
    clinic: MigrationBench,
) -> None:
    write(clinic, an_image(2))
    owner, other = patient_id(clinic), patient_id(clinic, 1)
    with writing_images(clinic.settings) as writer:
        written = writer.write([an_image(3, patient=other, batch_id=batch_id(KEY, DAY)), an_image(4)], RUN_TIME)
        with (
            closing(psycopg2.connect(clinic.database_url)) as somebody,
            somebody.cursor() as cursor,
            pytest.raises(psycopg2.errors.LockNotAvailable),
        ):
            cursor.execute("SELECT 1 FROM patients WHERE id = %s FOR UPDATE NOWAIT", (owner,))
    assert (written.refused, written.inserted) == ({0: BATCH_OF_ANOTHER_PATIENT}, [1])


def test_patients_are_found_by_every_id_that_they_have_or_had(clinic: MigrationBench) -> None:
    theirs, unlisted = patient_id(clinic), patient_id(clinic, 1)
    clinic.execute("UPDATE patients SET filemaker_metadata = NULL, notes = NULL WHERE id = %s", unlisted)
    earlier = str(uuid.uuid4())
    clinic.execute("INSERT INTO fm_pipeline.retired_patient_ids VALUES (%s, %s, 'image')", earlier, KEY)
    with clinic.connection() as connection, connection.cursor() as cursor:
        patients = read_patient_index(cursor, read_catalogue(cursor, "public"))
    for reference in (KEY, KEY.upper(), f" {KEY} ", theirs, theirs.upper(), earlier):
        found = patients.resolve(reference)
        assert not isinstance(found, str)
        assert (found.nexus_id, found.key) == (theirs, KEY)
    alone = patients.resolve(unlisted)
    assert not isinstance(alone, str)
    assert (alone.nexus_id, alone.key, alone.matched_by) == (unlisted, unlisted, "nexus_id")
    assert patients.resolve("") == "no_patient"
    assert patients.resolve(str(uuid.uuid4())) == "patient_unknown"


def test_columns_that_a_release_has_in_addition_are_filled(clinic: MigrationBench) -> None:
    clinic.execute(
        "ALTER TABLE images_batch ADD captured_date date, ADD import_source varchar(50) NOT NULL,"
        " ADD metadata jsonb NOT NULL; ALTER TABLE images_image DROP filemaker_id, ADD filemaker_id integer,"
        " ADD filemaker_type text, ADD filemaker_date date"
    )
    write(clinic, an_image(228))
    assert clinic.execute("SELECT captured_date, import_source, metadata ->> 'source' FROM images_batch") == [
        (DAY, "filemaker_import", "filemaker_import")
    ]
    assert clinic.execute("SELECT filemaker_id, filemaker_type, filemaker_date FROM images_image") == [
        (228, " Left Dorsal", DAY)
    ]
    clinic.execute("DELETE FROM fm_pipeline.crosswalk WHERE entity LIKE 'image%%'")
    assert write(clinic, an_image(228)).inserted == []  # by the number


def test_a_release_with_the_uuid_as_text_knows_its_images_by_it(clinic: MigrationBench) -> None:
    own_id = str(uuid.uuid4())
    clinic.execute("ALTER TABLE images_image ALTER filemaker_id TYPE varchar(36) USING filemaker_id::text")
    write(clinic, an_image(228, filemaker_id=own_id))
    clinic.execute("DELETE FROM fm_pipeline.crosswalk WHERE entity LIKE 'image%%'")
    assert write(clinic, an_image(229, filemaker_id=own_id)).inserted == []
    clinic.execute(
        "DELETE FROM fm_pipeline.crosswalk WHERE entity LIKE 'image%%';"
        " UPDATE images_image SET filemaker_id = upper(filemaker_id)"
    )
    assert write(clinic, an_image(230, filemaker_id=own_id)).inserted == []


def test_a_column_that_must_be_given_and_that_no_rule_fills_stops_before_anything(clinic: MigrationBench) -> None:
    clinic.execute(
        "ALTER TABLE images_image ADD consent_form uuid NOT NULL;"
        " ALTER TABLE images_batch ALTER uploaded_by_id SET NOT NULL"
    )
    with pytest.raises(CatalogueStop, match=r"images_batch has columns .* uploaded_by_id"):
        write(clinic, an_image())
    clinic.execute("ALTER TABLE images_batch ALTER uploaded_by_id DROP NOT NULL")
    with pytest.raises(CatalogueStop, match="consent_form"):
        write(clinic, an_image())


def test_a_column_that_is_too_short_for_every_image_stops_before_anything(clinic: MigrationBench) -> None:
    clinic.execute("ALTER TABLE images_image ALTER s3_key TYPE varchar(100), ALTER mime_type TYPE varchar(8)")
    with pytest.raises(CatalogueStop, match=r"images_image.s3_key \(100 .* are needed\), images_image.mime_type \(8"):
        write(clinic, an_image())


def test_a_batch_that_names_its_owner_by_a_text_stops_before_anything(clinic: MigrationBench) -> None:
    clinic.execute("ALTER TABLE images_batch ALTER object_id TYPE varchar(36)")
    with pytest.raises(CatalogueStop, match=r"images_batch.object_id is character varying\(36\) and not uuid"):
        write(clinic, an_image())


def test_a_batch_whose_times_have_no_zone_stops_before_anything(clinic: MigrationBench) -> None:
    clinic.execute("ALTER TABLE images_batch ALTER uploaded_at TYPE timestamp(3)")
    with pytest.raises(CatalogueStop, match=r"images_batch.uploaded_at is timestamp\(3\) without time zone"):
        write(clinic, an_image())


def test_a_trigger_that_writes_elsewhere_undoes_all(clinic: MigrationBench) -> None:
    clinic.execute(
        "CREATE FUNCTION spread() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE clinics SET name = name;"
        " RETURN NEW; END $$; CREATE TRIGGER spread AFTER INSERT ON images_image FOR EACH ROW EXECUTE FUNCTION spread()"
    )
    with pytest.raises(ValidationStop, match="clinics"):
        write(clinic, an_image())
    assert clinic.execute("SELECT count(*) FROM images_batch") == [(0,)]


CHANGED = {
    "a_row_left_out": ("BEFORE INSERT ON images_image", "RETURN NULL", "1 of 1 rows are missing"),
    "a_key_changed": ("BEFORE INSERT ON images_image", "NEW.s3_key = 'x'; RETURN NEW", "s3_key of 1 rows"),
    "another_patient": (
        "BEFORE INSERT ON images_batch",
        "NEW.object_id = gen_random_uuid(); RETURN NEW",
        "images_batch_as_written: object_id of 1 rows",
    ),
    "a_count_changed": (
        "BEFORE UPDATE ON images_batch",
        "NEW.image_count = 7; RETURN NEW",
        "1 batches have another number",
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_trigger_that_leaves_out_or_changes_new_rows_undoes_all(clinic: MigrationBench, case: str) -> None:
    when, what, found = CHANGED[case]
    clinic.execute(
        f"CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; END $$;"
        f" CREATE TRIGGER change {when} FOR EACH ROW EXECUTE FUNCTION change()"
    )
    with pytest.raises(ValidationStop, match=found):
        write(clinic, an_image())
    assert clinic.execute("SELECT count(*) FROM images_batch") == [(0,)]


def test_a_deferred_trigger_that_deletes_an_image_undoes_all_and_one_that_counts_images_is_no_hindrance(
    clinic: MigrationBench,
) -> None:
    trigger = (
        "CREATE FUNCTION {0}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {1}; RETURN NULL; END $$;"
        " CREATE CONSTRAINT TRIGGER {0} AFTER INSERT ON images_image DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        " EXECUTE FUNCTION {0}()"
    )
    clinic.execute(
        trigger.format("one", "UPDATE images_batch SET image_count = image_count + 1 WHERE id = NEW.batch_id")
    )
    write(clinic, an_image(2), an_image(3))
    assert clinic.execute("SELECT image_count FROM images_batch") == [(2,)]
    clinic.execute(trigger.format("less", "DELETE FROM images_image WHERE id = NEW.id"))
    with pytest.raises(ValidationStop, match="1 of 1 rows are missing"):
        write(clinic, an_image(4))
    assert clinic.execute("SELECT count(*) FROM images_image") == [(2,)]


def test_columns_that_postgresql_computes_are_left_to_it(clinic: MigrationBench) -> None:
    clinic.execute(
        'ALTER TABLE images_image DROP mime_type, DROP "order",'
        " ADD mime_type text GENERATED ALWAYS AS ('image/' || split_part(original_name, '.', 2)) STORED,"
        ' ADD "order" integer GENERATED ALWAYS AS IDENTITY'
    )
    write(clinic, an_image(2), an_image(3))
    assert clinic.execute('SELECT mime_type, "order" FROM images_image ORDER BY 2') == [
        ("image/jpg", 0),
        ("image/jpg", 1),
    ]


@pytest.mark.parametrize(
    "statement",
    ["SELECT pg_advisory_xact_lock(hashtext('fm_pipeline.reimport'))", "LOCK TABLE images_batch IN ROW EXCLUSIVE MODE"],
)
def test_the_writer_waits_a_limited_time_for_a_reimport_or_a_user(clinic: MigrationBench, statement: str) -> None:
    hasty = clinic.with_settings(nexus_lock_timeout_seconds=0.2)
    with closing(psycopg2.connect(clinic.database_url)) as somebody, somebody.cursor() as cursor:
        cursor.execute(statement)
        with pytest.raises(LockStop):
            write(hasty, an_image())
    assert write(clinic, an_image()).inserted == [0]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_lost_exactly_at_commit_is_decided_by_asking(clinic: MigrationBench, moment: Moment) -> None:
    arm, target = threading.Event(), psycopg2.extensions.parse_dsn(clinic.database_url)
    with cutting_proxy(target["host"], int(target["port"]), moment, arm=arm) as port:
        url = SecretStr(clinic.database_url.replace(f":{target['port']}/", f":{port}/"))
        lost = pytest.raises(DatabaseError, match="not committed") if moment == "before" else nullcontext()
        settings = clinic.settings.model_copy(update={"nexus_database_url": url})
        with lost, writing_images(settings) as writer:
            writer.write([an_image()], RUN_TIME)
            arm.set()
    assert not arm.is_set()
    assert clinic.execute("SELECT count(*) FROM images_image") == [(int(moment == "after"),)]
