"""What the check says if the history no longer fits Orthanc, against a real one."""

from __future__ import annotations

from fm_pipeline.dicom.api.remove_import import plan_removal, remove_import
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.preflight.connections import read_connections
from fm_pipeline.preflight.dicom import check_dicom
from fm_pipeline.preflight.finding import FindingBuilder
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.settings import Settings
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.support.scripted_http import Request, like_orthanc, reply, scripted


def said(settings: Settings) -> dict[str, str]:
    """What is said of the instances, by rule."""
    findings = check_dicom(settings, FindingBuilder(load_rules(), "DICOM"))
    return {each.rule: each.found for each in findings if each.subject == "instances in Orthanc"}


def test_an_orthanc_of_another_day_is_told_by_what_it_lacks_and_by_what_was_taken_back(importing: ImportBench) -> None:
    assert said(importing.settings) == {}
    kept, mistaken = importing.folder / "kept", importing.folder / "mistaken"
    write_series(kept, 3, 2_000, name="kept")
    files = write_series(mistaken, 2, 2_000, name="mistaken")
    job, of_mistake = importing.imported(folder=kept), importing.imported(folder=mistaken)
    words = plan_removal(importing.settings, of_mistake.id).confirmation
    remove_import(importing.settings, of_mistake.id, confirm=words, actor="test")
    assert said(importing.settings) == {"": "3 instances that imports stored or found first and last are there"}
    with importing.orthanc() as orthanc:
        for row in list(importing.rows(job.id).values())[:2]:
            assert orthanc.delete_instance(row.orthanc_instance_id or "")
        content = files[0].read_bytes()
        orthanc.upload(content, len(content))
    back = {"orthanc_has_taken_back": "1 instance of imports that were taken back is there"}
    lacks = {"orthanc_lacks_instances": "2 of 3 instances that imports stored or found first and last are not there"}
    assert said(importing.settings) == lacks | back
    (connection,) = (each for each in read_connections(importing.settings) if each.name == "Orthanc")
    lacking = "does not have 2 of 3 instances that imports stored or found first and last; fm-pipeline check"
    assert lacking in connection.found
    assert said(importing.settings.model_copy(update={"orthanc_keeps_all": False})) == back
    importing.imported("manual", folder=kept)
    assert said(importing.settings) == {"": "3 instances that imports stored or found first and last are there"} | back


def test_what_another_installation_stored_and_took_back_is_missed(importing: ImportBench) -> None:
    content = write_series(importing.folder, 1, 2_000)[0].read_bytes()
    with importing.orthanc() as orthanc:
        stored = orthanc.upload(content, len(content))
        assert importing.outcomes(importing.imported().id) == {"already_there": 1}
        assert list(said(importing.settings)) == [""]
        assert orthanc.delete_instance(stored.instance_id)
    assert list(said(importing.settings)) == ["orthanc_lacks_instances"]


def test_an_orthanc_that_refuses_to_name_instances_is_connected(importing: ImportBench) -> None:
    write_series(importing.folder, 1, 2_000)
    importing.imported()

    def answering(request: Request) -> bytes | None:
        return reply(403) if request.path == "/tools/bulk-content" else like_orthanc()(request)

    with scripted(answering) as server:
        settings = importing.settings.model_copy(update={"orthanc_url": f"http://127.0.0.1:{server.port}"})
        (connection,) = (each for each in read_connections(settings) if each.name == "Orthanc")
    assert connection.state == "connected"
    assert "is not known. Orthanc answers, and POST /tools/bulk-content is refused" in connection.found
