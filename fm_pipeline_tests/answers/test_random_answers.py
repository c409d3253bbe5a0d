"""Whatever a server answers, every question ends in time, in an answer or in a named error."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fm_pipeline.dicom.orthanc import delivery
from fm_pipeline.filemaker import transport
from fm_pipeline.storage import client
from fm_pipeline_tests.answers import clients
from fm_pipeline_tests.answers.conversations import IN_PLACE_OF_POSTGRESQL, POSTGRESQL_AT_WORK, SERVERS, conversation
from fm_pipeline_tests.support.services import LazyStack

FEW = {
    "Orthanc": 15,
    "FileMaker": 15,
    "OData": 12,
    "S3": 8,
    "SMTP": 8,
    IN_PLACE_OF_POSTGRESQL: 25,
    POSTGRESQL_AT_WORK: 12,
}


@pytest.mark.parametrize("name", SERVERS)
def test_every_answer_of_a_server_ends_in_a_named_outcome_within_the_patience(
    name: str, stack: LazyStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(client, "CONNECT_SECONDS", clients.TIME_OUT)
    monkeypatch.setattr(transport, "LONGEST_SECONDS", clients.TIME_OUT)
    with conversation(name, lambda: stack.postgresql) as server:

        @settings(max_examples=FEW[name], suppress_health_check=list(HealthCheck), database=None)
        @given(server.answers, st.sampled_from(sorted(server.asking.questions)))
        def ends(answers: object, question: str) -> None:
            server.ends_well(answers, question)

        ends()
