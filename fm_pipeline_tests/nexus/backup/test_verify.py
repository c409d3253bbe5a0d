"""What makes a backup one: the restore's own code has brought it back into copies that have Nexus' constraints."""

from __future__ import annotations

import re

import pytest

from fm_pipeline.nexus.backup.backup import list_backups, make_backup
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench

# Rows that PostgreSQL itself would not take again: a constraint has changed its mind, or was never true.
CANNOT_COME_BACK = {
    "a check of a function that has changed": (
        "CREATE FUNCTION fine(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';"
        "ALTER TABLE notes ADD CONSTRAINT fine CHECK (fine(content));"
        "CREATE OR REPLACE FUNCTION fine(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false'",
        "fine of notes",
    ),
    "a domain whose constraint is not valid": (
        "CREATE DOMAIN code AS text; ALTER TABLE reminders ADD code code DEFAULT 'long';"
        "ALTER DOMAIN code ADD CONSTRAINT brief CHECK (length(value) < 3) NOT VALID",
        "reminders break the constraint brief of the domain code",
    ),
    "a foreign key whose trigger was disabled": (
        "ALTER TABLE reminders DISABLE TRIGGER ALL; UPDATE reminders SET clinic_id = gen_random_uuid()"
        " WHERE id::text = (SELECT min(id::text) FROM reminders); ALTER TABLE reminders ENABLE TRIGGER ALL",
        "reminders_clinic_id_fkey of reminders",
    ),
}


@pytest.mark.parametrize("kind", CANNOT_COME_BACK)
def test_a_backup_whose_rows_a_constraint_would_refuse_does_not_count(nexus: MigrationBench, kind: str) -> None:
    change, constraint = CANNOT_COME_BACK[kind]
    nexus.execute(change)
    before = nexus.digests()
    with pytest.raises(BackupStop, match=constraint) as caught:
        make_backup(nexus.settings, now=RUN_TIME)
    assert re.search("Nexus is unchanged|Nothing was changed", str(caught.value))
    assert list_backups(nexus.settings) == []
    assert nexus.digests() == before


def test_parts_that_no_copy_has_are_named(nexus: MigrationBench) -> None:
    nexus.execute(
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
        "CREATE TRIGGER noted BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION noted();"
        "CREATE RULE told AS ON UPDATE TO reminders DO ALSO NOTHING"
    )
    made = make_backup(nexus.settings, now=RUN_TIME)
    triggers, rules = made.untested
    assert "notes: noted" in triggers
    assert "reminders" in rules
