"""Many random answers: `python -m fm_pipeline_tests.answers.many --count 2000 --seed 1`; exit code 0 if all ended well.

Each seed is a run of its own: a long search is several short ones, and what was broken off begins again at its seed.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fm_pipeline.dicom.orthanc import delivery
from fm_pipeline.filemaker import transport
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.storage import client
from fm_pipeline_tests.answers import clients
from fm_pipeline_tests.answers.conversations import SERVERS, conversation
from fm_pipeline_tests.support.searching import count_and_seed, say
from fm_pipeline_tests.support.services import LazyStack, memory_folder


def search(name: str, count: int, first: int) -> Counter[str]:
    """Ask one kind of server; what did not end well, by question, error and place."""
    broken: Counter[str] = Counter()
    with (
        temporary_stack([], parent=memory_folder()) as running,
        conversation(name, lambda: LazyStack(running).postgresql) as server,
    ):

        @seed(first)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(server.answers, st.sampled_from(sorted(server.asking.questions)))
        def ask(answers: object, question: str) -> None:
            try:
                server.ends_well(answers, question)
            except Exception as error:  # noqa: BLE001  # each is counted
                place = traceback.extract_tb(error.__traceback__)[-1]
                broken[f"{name}, {question}: {type(error).__name__} at {place.name}:{place.lineno}"] += 1

        ask()
    return broken


def main() -> int:
    """All servers, or the one that is named."""
    parser = count_and_seed("random-answers", __doc__, count=2000, of="conversations with each server")
    parser.add_argument("--server", choices=sorted(SERVERS), help="only this one")
    given_ = parser.parse_args()
    logging.disable(logging.CRITICAL)
    delivery._FIRST_PAUSE_SECONDS = 0.01
    client.CONNECT_SECONDS = clients.TIME_OUT  # type: ignore[assignment]
    transport.LONGEST_SECONDS = clients.TIME_OUT
    all_broken: Counter[str] = Counter()
    for name in [given_.server] if given_.server else SERVERS:
        begun = time.monotonic()
        broken = search(name, given_.count, given_.seed)
        all_broken += broken
        took = time.monotonic() - begun
        say(f"{name}: {given_.count} conversations, {broken.total()} did not end well; {took:.0f} s")
    for line, times in all_broken.most_common():
        say(f"BROKEN: {line} ({times} times)")
    return 1 if all_broken else 0


if __name__ == "__main__":
    sys.exit(main())
