"""The way to Orthanc, file by file."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.delivery import Delivery
from fm_pipeline.dicom.orthanc.errors import NoAnswer
from fm_pipeline.dicom.orthanc.stored_instance import StoredInstance


class DyingOrthanc:
    """Takes what is sent to it and answers nothing, until somebody has asked whether it is there again."""

    def __init__(self) -> None:
        self.is_there = False

    def system(self) -> dict[str, Any]:
        self.is_there = True
        return {}

    def upload(self, _content: object, _size: int) -> StoredInstance:
        if not self.is_there:
            raise NoAnswer
        return StoredInstance("Success", "instance", "patient", "study", "series")


@pytest.mark.hard_case(36)
def test_a_file_is_not_sent_again_into_the_death_of_an_orthanc_that_another_file_has_killed() -> None:
    delivery = Delivery(cast("Orthanc", DyingOrthanc()), threading.Event())
    _, sends = delivery.send(lambda: b"", 0, sends=1)
    assert sends == 2
