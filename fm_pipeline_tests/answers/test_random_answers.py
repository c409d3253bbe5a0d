"""Whatever a server answers, what was asked ends in time, in an answer or in an error that we have named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fm_pipeline.dicom import delivery
from fm_pipeline.filemaker import transport
from fm_pipeline.images import bucket
from fm_pipeline_tests.answers import clients, known
from fm_pipeline_tests.answers.clients import Asking
from fm_pipeline_tests.answers.server import AnsweringServer, answering_server
from fm_pipeline_tests.answers.strategies import Said, bodies, http_answers, smtp_lines

SERVERS: dict[str, tuple[Asking, st.SearchStrategy[Said]]] = {
    "Orthanc": (clients.ORTHANC, http_answers(bodies(known.ORTHANC))),
    "FileMaker": (clients.FILEMAKER, http_answers(bodies(known.FILEMAKER))),
    "S3": (clients.S3, http_answers(bodies(known.S3))),
    "SMTP": (clients.SMTP, smtp_lines()),
}
FEW = {"Orthanc": 30, "FileMaker": 25, "S3": 15, "SMTP": 8}


@pytest.fixture(scope="module")
def speaking_http() -> Iterator[AnsweringServer]:
    with answering_server() as server:
        yield server


@pytest.fixture(scope="module")
def speaking_smtp() -> Iterator[AnsweringServer]:
    with answering_server(greets=True) as server:
        yield server


def ends_well(asking: Asking, server: AnsweringServer, answers: list[Said], question: str) -> None:
    """Ask one question of a server that says these answers.

    Raises:
        AssertionError: it took too long.
        Exception: one that has no name of ours.
    """
    server.will_say(answers)
    with clients.within(asking.patience_seconds):
        try:
            asking.questions[question](server.port)
        except asking.ends as named:
            assert str(named) or type(named).__name__ != "PipelineError"  # noqa: PT017


@pytest.mark.parametrize("name", SERVERS)
def test_every_answer_of_a_server_ends_in_a_named_outcome_within_the_patience(
    name: str, speaking_http: AnsweringServer, speaking_smtp: AnsweringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(bucket, "CONNECT_SECONDS", clients.TIME_OUT)
    monkeypatch.setattr(transport, "LONGEST_SECONDS", clients.TIME_OUT)
    asking, answers = SERVERS[name]
    server = speaking_smtp if name == "SMTP" else speaking_http

    @settings(max_examples=FEW[name], suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(answers, min_size=1, max_size=9), st.sampled_from(sorted(asking.questions)))
    def ends(said: list[Said], question: str) -> None:
        ends_well(asking, server, said, question)

    ends()
