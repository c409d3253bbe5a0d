"""The preflight against real systems: each thing that is wrong is one line with what to do, and nothing is written."""

from __future__ import annotations

import json
import re
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from fm_pipeline.cli.main import main
from fm_pipeline.defs.assets.preflight import preflight as preflight_asset
from fm_pipeline.defs.resources import pipeline_resources
from fm_pipeline.nexus.backup.files import new_key
from fm_pipeline.preflight.finding import Finding, stops
from fm_pipeline.preflight.nexus import VERSIONS
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline_tests.support.clinics import DATABASE, PASSWORD, USER, MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.services import LazyStack


def found(bench: MigrationBench, **settings: object) -> dict[str, list[Finding]]:
    """What is not well, by rule."""
    broken: dict[str, list[Finding]] = {}
    for finding in preflight(bench.with_settings(**settings).settings):
        if finding.level != "good":
            broken.setdefault(finding.rule, []).append(finding)
    return broken


def only(broken: dict[str, list[Finding]], rule: str) -> Finding:
    assert list(broken) == [rule], broken
    (finding,) = broken[rule]
    assert finding.remedy
    return finding


def test_nothing_is_wrong_with_a_clinic_in_order_and_nothing_is_written(bench: MigrationBench) -> None:
    before = bench.digests()
    findings = preflight(bench.settings)
    assert [finding for finding in findings if finding.level != "good"] == []
    assert {finding.area for finding in findings} == {"FileMaker", "Nexus", "source", "services"}
    assert bench.execute("SELECT to_regnamespace('fm_pipeline')") == [(None,)]
    assert bench.digests() == before


# -- FileMaker (hard case 22)


def test_case_22_a_wrong_password_is_told_and_tried_once(bench: MigrationBench) -> None:
    broken = found(bench, filemaker_password=SecretStr("wrong"))
    assert "FILEMAKER_PASSWORD" in only(broken, "filemaker_unreachable").remedy
    assert bench.stand_in.counters()["requests"]["login"] == 1


def test_case_22_without_filemaker_the_rest_is_looked_at_all_the_same(bench: MigrationBench) -> None:
    findings = preflight(bench.with_settings(filemaker_database="other").settings)
    assert [finding.rule for finding in stops(findings)] == ["filemaker_unreachable"]
    assert any(finding.area == "Nexus" and finding.level == "good" for finding in findings)


def test_case_22_layouts_and_fields_that_are_missing_are_named(bench: MigrationBench) -> None:
    fields = bench.store.table(DATABASE, "Patients").fields
    bench.store.create_layout(DATABASE, "API_Patients", "Patients", [f for f in fields if f not in ("dob", "id")])
    notes = bench.store.table(DATABASE, "Notes").fields
    bench.store.create_layout(DATABASE, "API_Notes", "Notes", [f for f in notes if f != "created_by"])
    broken = found(bench)
    assert set(broken) == {"filemaker_layout_unfit", "filemaker_field_missing"}
    assert "API_Patients" in broken["filemaker_layout_unfit"][0].found
    (note,) = broken["filemaker_field_missing"]
    assert (note.level, note.subject, note.found) == (
        "warning",
        "layout API_Notes",
        "without created_by; nothing feeds created_by",
    )


def test_case_22_a_field_that_the_account_may_not_see_stops(bench: MigrationBench) -> None:
    bench.store.add_account(DATABASE, ServerAccount(USER, PASSWORD, no_access={"Patients": ["dob", "last_name"]}))
    assert only(found(bench), "filemaker_field_hidden").found == "<No Access> in dob, last_name"


def test_case_22_a_field_that_repeats_and_that_the_account_may_not_see_stops(bench: MigrationBench) -> None:
    make_note_repeat(bench)
    assert "filemaker_field_hidden" not in found(bench)
    bench.store.add_account(DATABASE, ServerAccount(USER, PASSWORD, no_access={"Long notes": ["note"]}))
    (finding,) = found(bench)["filemaker_field_hidden"]
    assert (finding.level, finding.found) == ("stop", "<No Access> in note")


def make_note_repeat(bench: MigrationBench) -> list[str]:
    """Give the layout of notes another table, with one record, whose note has three repetitions; return its fields."""
    table = bench.store.table(DATABASE, "Notes")
    fields = [replace(field, repetitions=3) if field.name == "note" else field for field in table.fields.values()]
    names = [field.name for field in fields]
    bench.store.create_table(DATABASE, "Long notes", fields)
    bench.store.create_layout(DATABASE, "API_Notes", "Long notes", names)
    bench.store.insert(DATABASE, "Long notes", [{"id": "n1", "note(1)": "a", "note(2)": "b"}])
    return names


def test_repetitions_that_a_layout_does_not_show_stop_because_they_are_not_read(bench: MigrationBench) -> None:
    names, shown = make_note_repeat(bench), {"note": 1}
    assert "filemaker_repetition_hidden" not in found(bench)
    bench.store.create_layout(DATABASE, "API_Notes", "Long notes", names, repetitions=shown)
    (finding,) = found(bench)["filemaker_repetition_hidden"]
    assert (finding.level, finding.subject, finding.found) == ("stop", "layout API_Notes", "1 of 3 of note")


def test_records_that_the_account_may_not_see_stop_because_filemaker_leaves_them_out(bench: MigrationBench) -> None:
    bench.stand_in.faults(hidden_records={"Notes": [1, 2]})
    (finding,) = found(bench)["filemaker_records_hidden"]
    assert (finding.level, finding.subject) == ("stop", "layout API_Notes")
    assert re.fullmatch(r"2 of \d+ records", finding.found)
    assert "view all records" in finding.remedy


def test_a_number_field_that_feeds_a_text_is_told_because_zeros_in_front_do_not_come(bench: MigrationBench) -> None:
    table = bench.store.table(DATABASE, "Contact_Details")
    numbers = {"phone", "mobile", "is_default", "patient_id"}
    fields = [replace(field, type="number") if name in numbers else field for name, field in table.fields.items()]
    bench.store.create_table(DATABASE, "Numbers", fields)
    bench.store.create_layout(DATABASE, "API_Contact_Details", "Numbers", list(table.fields))
    (finding,) = found(bench)["filemaker_number_for_text"]
    assert (finding.level, finding.subject) == ("warning", "layout API_Contact_Details")
    assert finding.found == "number fields: mobile, phone"


def test_case_22_a_missing_privilege_names_the_privilege(bench: MigrationBench) -> None:
    bench.store.add_account(DATABASE, ServerAccount(USER, PASSWORD, privileges=()))
    assert "fmrest" in only(found(bench), "filemaker_unreachable").remedy


# -- Nexus (hard cases 8 and 16)


def test_a_role_with_the_grants_of_a_reimport_is_enough(role: MigrationBench) -> None:
    assert found(role) == {}
    role.extract_and_stage()  # the schema is the role's own now, so the audit trail has no owner of its own
    assert [each.subject for findings in found(role).values() for each in findings] == ["audit trail"]


@pytest.mark.parametrize(
    ("statement", "subject", "lacks"),
    [
        ("REVOKE DELETE, INSERT ON appointments FROM preflight_role", "table appointments", "DELETE, INSERT"),
        ("REVOKE UPDATE ON documents_document FROM preflight_role", "table documents_document", "UPDATE"),
        ("REVOKE UPDATE ON xero_invoices FROM preflight_role", "table xero_invoices", "UPDATE"),
        ("REVOKE SELECT ON sms_templates FROM preflight_role", "table sms_templates", "SELECT"),
        ("REVOKE ALL ON django_content_type FROM preflight_role", "table django_content_type", "SELECT"),
    ],
)
def test_case_16_a_privilege_that_the_role_lacks_is_found_with_the_statement_that_gives_it(
    role: MigrationBench, bench: MigrationBench, statement: str, subject: str, lacks: str
) -> None:
    bench.execute(statement)
    finding = only(found(role), "nexus_grant_missing")
    assert (finding.subject, finding.found) == (subject, f"the role lacks {lacks}")
    assert finding.remedy.startswith(f"As the owner of the table: GRANT {lacks} ON ")


def test_case_16_our_own_schema_and_temporary_tables_need_a_privilege_too(
    role: MigrationBench, bench: MigrationBench
) -> None:
    (database,) = bench.execute("SELECT current_database()")[0]
    bench.execute(
        f'REVOKE CREATE, TEMPORARY ON DATABASE "{database}" FROM preflight_role;'
        f' REVOKE TEMPORARY ON DATABASE "{database}" FROM PUBLIC'
    )
    finding = only(found(role), "nexus_grant_missing")
    assert finding.found == "the role lacks CREATE on the database and TEMPORARY on the database"


def test_an_event_trigger_that_forbids_tables_stops(bench: MigrationBench) -> None:
    bench.execute(
        "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no changes in office hours'; END $$;"
        " CREATE EVENT TRIGGER no_changes ON ddl_command_start EXECUTE FUNCTION forbid()"
    )
    (finding,) = stops(preflight(bench.settings))
    assert (finding.subject, finding.rule) == ("schema fm_pipeline", "nexus_grant_missing")
    assert "lets the role create no table (no_changes; SQLSTATE P0001)" in finding.found


def test_case_8_a_column_that_must_be_given_and_that_nobody_knows_stops(bench: MigrationBench) -> None:
    bench.execute("ALTER TABLE patients ADD COLUMN tenant integer NOT NULL DEFAULT 1")
    assert found(bench) == {}
    bench.execute("ALTER TABLE patients ALTER COLUMN tenant DROP DEFAULT")
    assert "tenant" in only(found(bench), "nexus_structure_unknown").found


def test_what_hangs_on_the_tables_is_told_and_does_not_stop(bench: MigrationBench) -> None:
    bench.execute(
        "DROP INDEX appointments_patient_id;"
        "CREATE TABLE referrals (id uuid PRIMARY KEY, referred_patient_id uuid, appointment_id uuid);"
        "CREATE FUNCTION noticed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER on_patient AFTER UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION noticed()"
    )
    broken = found(bench)
    assert {finding.level for findings in broken.values() for finding in findings} == {"warning"}
    assert {rule: [finding.subject for finding in findings] for rule, findings in broken.items()} == {
        "nexus_key_without_index": ["appointments.patient_id"],
        "nexus_trigger": ["table patients"],
        "nexus_soft_reference": ["referrals.referred_patient_id", "referrals.appointment_id"],
    }
    rows = len(small_clinic().truth.before["appointments"].rows)
    assert f"about {rows:,} rows are read for each row that goes" in broken["nexus_key_without_index"][0].found


def test_a_database_that_does_not_answer_is_told_and_the_rest_is_looked_at(bench: MigrationBench) -> None:
    url = make_url(bench.database_url).set(database="not_there").render_as_string(hide_password=False)
    findings = preflight(bench.with_settings(nexus_database_url=SecretStr(url)).settings)
    assert [finding.rule for finding in stops(findings)] == ["nexus_unreachable"]
    assert findings[-1].area == "services"


# -- What both have (hard case 1)


def test_case_1_a_source_that_is_empty_or_shrunk_is_found_by_its_count_alone(bench: MigrationBench) -> None:
    for table, part in (("Patients", "record_id % 3 > 0"), ("Notes", "true")):
        rows = bench.store.table(DATABASE, table).rows
        with bench.store.transaction() as files:
            files.execute(f"DELETE FROM {rows} WHERE {part}")  # noqa: S608  # our own words
    broken = found(bench)
    assert set(broken) == {"source_empty", "source_shrunk"}
    assert [finding.subject for finding in broken["source_empty"]] == ["note"]
    assert [finding.subject for finding in broken["source_shrunk"]] == ["patient"]
    assert broken["source_empty"][0].found.startswith("0 rows; Nexus has ")


# -- Services


def test_s3_and_mail_are_looked_at_when_they_are_set(bench: MigrationBench, stack: LazyStack) -> None:
    s3, mail = stack.s3.settings(), stack.mail.settings()
    services: dict[str, object] = {
        "s3_endpoint_url": s3["S3_ENDPOINT_URL"],
        "s3_bucket": s3["S3_BUCKET"],
        "aws_access_key_id": s3["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": SecretStr(s3["AWS_SECRET_ACCESS_KEY"]),
        "smtp_host": mail["SMTP_HOST"],
        "smtp_port": int(mail["SMTP_PORT"]),
        "smtp_from": mail["SMTP_FROM"],
        "smtp_to": mail["SMTP_TO"],
        "smtp_security": "none",
    }
    mails = list(stack.mail.folder.glob("*.eml"))
    assert found(bench, **services) == {}
    assert list(stack.mail.folder.glob("*.eml")) == mails, "an email was sent"
    assert "NoSuchBucket" in only(found(bench, **services | {"s3_bucket": "other"}), "s3_unreachable").found
    no_address = found(bench, **services | {"s3_endpoint_url": "127.0.0.1:9000"})
    assert only(no_address, "s3_unreachable").found == "S3_ENDPOINT_URL is not an address."
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        broken = found(
            bench, **services | {"smtp_port": nobody.getsockname()[1], "s3_endpoint_url": "http://127.0.0.1:1"}
        )
    assert set(broken) == {"mail_unreachable", "s3_unreachable"}
    assert {finding.level for findings in broken.values() for finding in findings} == {"stop"}


def test_the_state_folder_must_be_ours_alone(bench: MigrationBench, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert "0755" in only(found(bench, state_dir=folder), "state_folder_open").found
    file = tmp_path / "a file"
    file.write_text("")
    assert only(found(bench, state_dir=file / "state"), "state_folder_unusable").level == "stop"
    found(bench, state_dir=tmp_path / "above" / "state")
    assert (tmp_path / "above").stat().st_mode & 0o777 == 0o700


def test_a_backup_that_could_not_be_written_is_found_before_filemaker_is_read(
    bench: MigrationBench, tmp_path: Path
) -> None:
    assert found(bench, backup_dir=tmp_path / "new" / "backups", backup_key=SecretStr(new_key())) == {}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "a file").write_text("")
    finding = only(found(bench, backup_dir=tmp_path / "a file"), "state_folder_unusable")
    assert (finding.subject, finding.level) == ("backup folder", "stop")
    assert finding.found.startswith("BACKUP_DIR: ")
    finding = only(found(bench, backup_key=SecretStr("secret")), "backup_key_wrong")
    assert finding.level == "stop"
    assert "secret" not in finding.found


# -- Command and asset


def environment(bench: MigrationBench, monkeypatch: pytest.MonkeyPatch, folder: Path, **more: str) -> None:
    """Settings as a user has them."""
    monkeypatch.chdir(folder)
    for name, value in (bench.environment() | more).items():
        monkeypatch.setenv(name, value)


def test_the_command_shows_the_clinic_as_it_was_found_and_exits_by_what_it_found(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_found = generate_clinic(scale=0.02, as_found=True)
    with migration_bench(database_url, tmp_path, as_found, "wep") as bench:
        environment(bench, monkeypatch, tmp_path, COLUMNS="200")
        assert CliRunner().invoke(main, ["check"]).exit_code == 0, "single records are not looked at"
        full = CliRunner().invoke(main, ["check", "--full", "--json"])
        assert full.exit_code == 1
        findings = json.loads(full.stdout)
        stopping = {(f["subject"], f["rule"]): f["found"] for f in findings if f["level"] == "stop"}
        assert stopping.keys() == as_found.expected().stops.keys()
        for key, rows in as_found.expected().stops.items():
            assert f" {rows:,} of " in stopping[key]
        table = CliRunner().invoke(main, ["check", "--full"]).stdout
        assert table.count("→ Choose the clinic in FileMaker.") == 2
        monkeypatch.setenv("RULES_FILE", "quarantine")
        assert CliRunner().invoke(main, ["check", "--full"]).exit_code == 0


def test_the_rules_in_force_are_printed_with_what_the_clinic_changed(
    bench: MigrationBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("source_shrunk: {least: 0.5}\ns3_unreachable: flag\n")
    environment(bench, monkeypatch, tmp_path, RULES_FILE=str(file))
    result = CliRunner().invoke(main, ["check", "--rules", "--json"])
    rules = {rule["rule"]: rule for rule in json.loads(result.stdout)}
    assert rules["source_shrunk"]["threshold"] == "at least 50% of before"
    assert (rules["s3_unreachable"]["action"], rules["s3_unreachable"]["default"]) == ("flag", "stop")
    assert "flag (RULES_FILE)" in CliRunner().invoke(main, ["check", "--rules"], env={"COLUMNS": "200"}).stdout


def test_the_asset_blocks_what_comes_after_and_says_why(bench: MigrationBench) -> None:
    after = []

    @dg.asset(deps=[preflight_asset])
    def reading() -> None:
        after.append(1)

    def run(bench: MigrationBench) -> dg.ExecuteInProcessResult:
        resources = pipeline_resources(lambda: bench.settings)
        return dg.materialize([preflight_asset, reading], resources=resources, raise_on_error=False)

    good = run(bench)
    assert good.success
    assert after == [1]
    bench.execute("ALTER TABLE patients ADD COLUMN tenant integer NOT NULL DEFAULT 1")
    bench.execute("ALTER TABLE patients ALTER COLUMN tenant DROP DEFAULT")
    bad = run(bench)
    assert not bad.success
    assert after == [1]
    failed = [check for check in bad.get_asset_check_evaluations() if not check.passed]
    assert [(check.check_name, "tenant" in (check.description or "")) for check in failed] == [("nexus", True)]


def test_no_value_of_a_record_is_in_what_the_preflight_says(bench: MigrationBench) -> None:
    said = json.dumps([finding.as_dict() for finding in preflight(bench.settings, full=True)], ensure_ascii=False)
    surnames = {patient.last_name for patient in small_clinic().truth.patients if len(patient.last_name) > 5}
    assert surnames
    assert not [surname for surname in surnames if surname in said]


def test_a_preflight_needs_no_connection_that_stays_open(bench: MigrationBench) -> None:
    preflight(bench.settings)
    with closing(psycopg2.connect(bench.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone() == (0,)


def test_case_16_a_postgresql_that_was_not_tried_stops(bench: MigrationBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fm_pipeline.preflight.nexus.VERSIONS", range(14, 15))
    finding = only(found(bench), "nexus_version_unknown")
    assert finding.level == "stop"
    assert "PostgreSQL 1" in finding.found


def test_the_documents_name_the_versions_of_postgresql_that_the_check_lets_pass() -> None:
    top = Path(__file__).parents[2]
    for name in ("README.md", "docs/mapping.md", "fm_pipeline/entities/rules.yaml"):
        assert f"{VERSIONS[0]} to {VERSIONS[-1]}" in (top / name).read_text(encoding="utf-8")
