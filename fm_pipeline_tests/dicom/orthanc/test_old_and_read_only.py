"""An Orthanc that is older than a request of the import, and one that is read-only."""

from __future__ import annotations

import pytest

from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.errors import OrthancStop
from fm_pipeline_tests.support.scripted_http import SYSTEM, Request, like_orthanc, reply, scripted


def test_a_deletion_in_a_read_only_orthanc_is_told_as_that() -> None:
    def answering(request: Request) -> bytes | None:
        return reply(405) if request.method == "DELETE" else like_orthanc(system=SYSTEM | {"ReadOnly": True})(request)

    with (
        scripted(answering) as server,
        Orthanc(f"http://127.0.0.1:{server.port}") as orthanc,
        pytest.raises(OrthancStop, match="read-only"),
    ):
        orthanc.delete_instance("1")


def test_an_orthanc_from_before_bulk_content_is_asked_for_each_instance() -> None:
    def answering(request: Request) -> bytes | None:
        if request.path == "/instances/held":
            return reply(200, {"ID": "held", "FileSize": 5, "Type": "Instance"})
        if request.path == "/tools/bulk-content":
            return reply(404, {"HttpStatus": 404, "OrthancStatus": 17})
        return like_orthanc(system=SYSTEM | {"Version": "1.9.1"})(request)

    with scripted(answering) as server, Orthanc(f"http://127.0.0.1:{server.port}") as orthanc:
        assert orthanc.sizes(["held", "absent"]) == {"held": 5}
        assert orthanc.patients(["P"]) == {}
