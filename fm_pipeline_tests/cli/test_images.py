"""`fm-pipeline images` as somebody at a terminal sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fm_pipeline.cli.main import main
from fm_pipeline.images.linking import copier
from fm_pipeline.status.history import last_run_report
from fm_pipeline_tests.images.scene import Row, Scene, jpeg
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.services import LazyStack

PATIENT = "43669346-9656-4029-A607-E4E8E4386F9E"


@pytest.fixture
def scene(bench: MigrationBench, stack: LazyStack, tmp_path: Path) -> Scene:
    """A clinic without images, and a bulk dump of three."""
    scene = Scene(bench, BucketBench(stack.s3), tmp_path)
    for recid in (2, 3):
        scene.add(recid)
    scene.add(4, date="")
    return scene


def run(*words: str, env: dict[str, str] | None = None) -> Result:
    """A command."""
    return CliRunner().invoke(main, ["images", *words], env=env)


def test_convert_prints_what_the_seed_prints(tmp_path: Path) -> None:
    rows = [Row(str(recid), PATIENT, category=category) for recid, category in ((2, "Left Dorsal"), (3, "Left Medial"))]
    rows += [Row("4", PATIENT), Row("x", PATIENT)]
    export, out = tmp_path / "Image_DataV6.tab", tmp_path / "filemaker_images_metadata.csv"
    export.write_text("".join("\t".join(row.cells()) + "\r" for row in rows), newline="")
    done = run("convert", str(export), str(out))
    assert done.exit_code == 0, done.output
    rule = "=" * 70
    assert done.output == (
        f"{rule}\n🔄 Converting FileMaker Tab Export to CSV\n{rule}\nInput: {export}\nOutput: {out}\n\n"
        "✅ Found 4 records\n   read as tab, utf-8\n⚠️  1 rejected, recid_invalid: record 4\n"
        f"\n{rule}\n✅ CONVERSION COMPLETE!\n{rule}\n\n📊 Sample records:\n"
        "   1. recid=2, patient=43669346..., date=10/18/2016, type=Left Dorsal\n"
        "   2. recid=3, patient=43669346..., date=10/18/2016, type=Left Medial\n   ...\n"
        f"\n📝 Next step:\n   fm-pipeline images link {out} --dry-run\n"
    )
    assert out.read_text("utf-8").startswith(f"recid,id_Contact,date,Type,Note\n2,{PATIENT},10/18/2016,Left Dorsal,\n")


def test_a_file_that_cannot_be_read_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    export = tmp_path / "x.tab"
    export.write_text("one\ttwo\r")
    done = run("convert", str(export), str(tmp_path / "out.csv"))
    assert done.exit_code == 1
    assert "--columns" in done.output
    assert not (tmp_path / "out.csv").exists()


def test_convert_never_overwrites_the_export_and_leaves_no_half_a_csv(tmp_path: Path) -> None:
    export = tmp_path / "x.tab"
    export.write_text("\t".join(Row("2", PATIENT).cells()) + "\r")
    before = export.read_bytes()
    assert run("convert", str(export), str(export)).exit_code == 2
    assert export.read_bytes() == before
    done = run("convert", str(export), str(tmp_path / "nowhere" / "out.csv"))
    assert done.exit_code == 1
    assert "cannot be written" in done.output
    assert run("convert", str(export), str(tmp_path / "out.csv")).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"x.tab", "out.csv"}


def test_link_shows_the_summary_of_the_seed_dry_and_for_real(scene: Scene) -> None:
    env = scene.bench.environment()
    dry = run("link", str(scene.export_file), "--dry-run", env=env)
    assert dry.exit_code == 0, dry.output
    assert "Images linked:       2 (would be)" in dry.output
    assert scene.images() == {}
    done = run("link", str(scene.export_file), env=env)
    assert done.exit_code == 0, done.output
    for line in (
        "Total images:          3",
        "✅ Batches created:     1",
        "✅ Images linked:       2",
        "⏭️  Skipped:             1",
        "        1  no_date: FileMaker has no date for it",
        "❌ Errors:              0",
    ):
        assert line in done.output
    assert set(scene.images()) == {2, 3}
    for dry_run in (True, False):
        shown = last_run_report(scene.bench.database_url, "image_link", dry_run=dry_run)["report"]
        assert (shown["linked"], shown["skipped"]) == (2, {"no_date": 1})
    again = run("link", str(scene.export_file), "--limit", "5", env=env)
    assert "Linked before:       2" in again.output


def test_link_stores_its_report_also_if_the_disk_has_no_room_for_the_lists(scene: Scene) -> None:
    folder = scene.bench.settings.state_dir / "images"
    folder.mkdir(parents=True)
    (folder / "not_linked.csv.partial").symlink_to("/dev/full")
    done = run("link", str(scene.export_file), env=scene.bench.environment())
    assert done.exit_code == 0, done.output
    for line in (
        "✅ Images linked:       2",
        "The lists of what is not linked cannot be written (No space left on device). The images are linked.",
        f"Look at the room and the owner of {folder}. Then run it again",
    ):
        assert line in done.output
    assert "Lists of what is not linked, with reasons" not in done.output
    assert last_run_report(scene.bench.database_url, "image_link")["report"]["linked"] == 2


def test_link_exits_with_one_when_somebody_changed_the_bulk_dump(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:

    real = copier.list_targets

    def meanwhile(*arguments: object) -> object:
        scene.s3.put_bulk("5.jpg", jpeg(5))
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(copier, "list_targets", meanwhile)
    done = run("link", str(scene.export_file), env=scene.bench.environment())
    assert done.exit_code == 1
    assert "somebody else changed meanwhile: 1" in done.output


@pytest.mark.parametrize("words", [("import", "--dry-run"), ("import",), ("reconcile",)], ids=" ".join)
def test_without_s3_nothing_is_begun_and_the_exit_code_is_one(
    bench: MigrationBench, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("fm_pipeline.storage.client.ATTEMPTS", 1)
    asked = bench.stand_in.counters()["requests"]
    away = {"S3_ENDPOINT_URL": "http://127.0.0.1:1", "S3_BUCKET": "clinic", "AWS_ACCESS_KEY_ID": "a"}
    refused = run(*words, env=bench.environment() | away | {"AWS_SECRET_ACCESS_KEY": "b"})
    assert refused.exit_code == 1
    assert "S3 did not answer when asked to look at the bucket (EndpointConnectionError)." in refused.stderr
    assert "Check S3_ENDPOINT_URL" in refused.stderr
    assert bench.stand_in.counters()["requests"] == asked
