"""A restore drill: the newest backup goes into an empty database, is compared, rolled back, and told by email."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import dagster as dg
import psycopg2
import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from fm_pipeline.cli.main import main
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline_tests.defs.assets.test_runs import Graph
from fm_pipeline_tests.nexus.backup.restoring import backup
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.mail import mails_of, text_of
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_nexus
from fm_pipeline_tests.support.services import LazyStack

ENDS = "SELECT outcome FROM fm_pipeline.audit WHERE action = 'verify' ORDER BY id"


@pytest.fixture
def drilled(postgresql: DisposablePostgreSQL) -> Iterator[str]:
    """The URL of a database in which the application has made its tables, and nothing else."""
    with empty_nexus(postgresql) as url:
        yield url


@pytest.fixture
def catcher(bench: MigrationBench, stack: LazyStack, monkeypatch: pytest.MonkeyPatch) -> SmtpService:
    """The mail server, which the settings of this process name beside the clinic's database."""
    settings = {**bench.environment(), **stack.mail.settings(), "COLUMNS": "200"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return stack.mail


def restore(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["restore", *arguments])


@pytest.mark.usefixtures("reimported_once")
def test_a_drill_restores_the_newest_backup_elsewhere_rolls_it_back_and_mails_the_result(
    bench: MigrationBench, catcher: SmtpService, drilled: str
) -> None:
    older, folder = backup(bench), backup(bench)
    before, earlier = bench.digests(), len(mails_of(catcher, "drill-"))
    done = restore("--drill", drilled)
    assert done.exit_code == 0, done.output
    ((patients,),) = bench.execute("SELECT count(*) FROM patients")
    assert f"The backup {folder.name} was restored into an empty database and compared:" in done.stdout
    assert f"{patients} patients" in done.stdout
    with closing(psycopg2.connect(drilled)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM patients) + (SELECT count(*) FROM fm_pipeline.crosswalk)")
        assert cursor.fetchone() == (0,)
    assert bench.digests() == before

    (written,) = folder.glob("*-notes.copy.gz")
    written.write_bytes(written.read_bytes()[:-9])
    damaged = restore("--drill", drilled)
    assert damaged.exit_code == 1
    own = restore("--drill", bench.database_url, str(older))
    assert own.exit_code == 1
    assert "The database of the drill is not empty: " in own.stderr
    assert bench.digests() == before

    mails = [text_of(mail) for mail in mails_of(catcher, "drill-")[earlier:]]
    assert [mail.splitlines()[0] for mail in mails] == ["Restore drill succeeded", *["Restore drill FAILED"] * 2]
    assert f"{patients} patients" in mails[0]
    assert damaged.stderr.splitlines()[0] in mails[1]
    assert [row[0] for row in bench.execute(ENDS)] == ["started", "done", "started", "refused", "started", "refused"]


@pytest.mark.usefixtures("reimported_once")
def test_the_job_of_the_schedule_tries_the_newest_backup_and_mails_the_result(
    bench: MigrationBench, catcher: SmtpService, drilled: str
) -> None:
    folder, earlier = backup(bench), len(mails_of(catcher, "drill-"))
    mail = {name.lower(): value for name, value in catcher.settings().items()}
    with dg.DagsterInstance.ephemeral() as instance:
        done = Graph(bench.with_settings(restore_drill_url=SecretStr(drilled), **mail), instance).run("restore_drill")
        assert done.success
        assert not Graph(bench.with_settings(**mail), instance).run("restore_drill").success
    succeeded, failed = [text_of(each) for each in mails_of(catcher, "drill-")[earlier:]]
    assert f"The backup {folder.name} was restored" in succeeded
    assert "RESTORE_DRILL_URL is not set" in failed
    kept = bench.execute("SELECT outcome FROM fm_pipeline.audit WHERE run_id = %s ORDER BY id", done.run_id)
    assert kept == [("started",), ("done",)]


def test_a_drill_without_a_backup_or_with_a_wrong_url_is_refused(
    bench: MigrationBench, catcher: SmtpService, drilled: str
) -> None:
    for url, said in ((drilled, "There is no verified backup"), ("mysql://x", "The URL of the drill names the")):
        if url != drilled:
            backup(bench)
        refused = restore("--drill", url)
        assert refused.exit_code == 1
        assert said in refused.stderr
    assert restore("--drill", drilled, "--dry-run").exit_code == 2
    assert "Missing argument 'FOLDER'" in restore().stderr
