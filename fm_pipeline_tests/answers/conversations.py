"""Each kind of server with its questions and its random answers; every question must end in a known way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from fm_pipeline.errors import PipelineError
from fm_pipeline_tests.answers import clients, known, postgresql, postgresql_questions
from fm_pipeline_tests.answers.clients import Asking
from fm_pipeline_tests.answers.postgresql_servers import disturbing_proxy, in_place_of_postgresql
from fm_pipeline_tests.answers.server import answering_server
from fm_pipeline_tests.answers.strategies import Said, bodies, http_answers, smtp_lines
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL

_ANSWERS: dict[str, tuple[Asking, st.SearchStrategy[Said]]] = {
    "Orthanc": (clients.ORTHANC, http_answers(bodies(known.ORTHANC))),
    "FileMaker": (clients.FILEMAKER, http_answers(bodies(known.FILEMAKER))),
    "OData": (clients.ODATA, http_answers(bodies(known.ODATA))),
    "S3": (clients.S3, http_answers(bodies(known.S3))),
    "SMTP": (clients.SMTP, smtp_lines()),
}
IN_PLACE_OF_POSTGRESQL, POSTGRESQL_AT_WORK = "in place of PostgreSQL", "PostgreSQL at work"
SERVERS = (*_ANSWERS, IN_PLACE_OF_POSTGRESQL, POSTGRESQL_AT_WORK)


@dataclass(frozen=True)
class Conversation:
    """A server that runs, and what is asked of it.

    Attributes:
        answers: all that it says in one conversation.
        will_say: tells the server.
    """

    asking: Asking
    port: int
    answers: st.SearchStrategy[Any]
    will_say: Callable[[Any], None]

    def ends_well(self, answers: object, question: str) -> None:
        """Ask one question of the server that says these answers.

        Raises:
            AssertionError: it took too long, said what must not be said, or not what to do.
            Exception: one that has no name of ours.
        """
        self.will_say(answers)
        with clients.within(self.asking.patience_seconds):
            try:
                said = str(self.asking.questions[question](self.port))
            except self.asking.ends as named:
                said = str(named)
                assert said or type(named).__name__ != "PipelineError"  # noqa: PT017
                if isinstance(named, PipelineError) and self.asking.never_said:
                    assert named.remedy, said  # noqa: PT017
        assert not [secret for secret in self.asking.never_said if secret in said]


@contextmanager
def conversation(name: str, postgresql_server: Callable[[], DisposablePostgreSQL]) -> Iterator[Conversation]:
    """With one kind of server, as long as the block lasts.

    Args:
        name: one of SERVERS.
        postgresql_server: gives the real one; called where one is needed.
    """
    if name == IN_PLACE_OF_POSTGRESQL:
        with in_place_of_postgresql() as server:
            yield Conversation(postgresql_questions.asking(), server.port, postgresql.conversations(), server.will_say)
    elif name == POSTGRESQL_AT_WORK:
        real = postgresql_server()
        with (
            postgresql_questions.nexus_database(real) as url,
            disturbing_proxy("127.0.0.1", real.port) as proxy,
        ):
            yield Conversation(postgresql_questions.asking(url), proxy.port, postgresql.FAULTS, proxy.will_do)
    else:
        asking, answers = _ANSWERS[name]
        with answering_server(greets=name == "SMTP") as server:
            yield Conversation(asking, server.port, st.lists(answers, min_size=1, max_size=9), server.will_say)
