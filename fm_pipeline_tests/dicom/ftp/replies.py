"""Random replies, data and cuts in place of an FTP server.

`python -m fm_pipeline_tests.dicom.ftp.replies --count 5000 --seed 1` pulls so often; exit code 0 if each pull ended
with a report or a sentence.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.ftp.pull_report import PullReport
from fm_pipeline.errors import FtpError
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.support.ftp.pulls import files, pulled
from fm_pipeline_tests.support.ftp.scripted import DONE, GREETING, TRANSFERS, Answers, Ends, scripted_ftp
from fm_pipeline_tests.support.postgres import empty_database
from fm_pipeline_tests.support.searching import count_and_seed, say
from fm_pipeline_tests.support.services import LazyStack

COMMANDS = [GREETING, "USER", "PASS", "FEAT", "OPTS", "TYPE", "CWD", "PASV", "REST", "SIZE", "MDTM", *TRANSFERS]
COMMANDS += [name + DONE for name in TRANSFERS]
TIMEOUT = 0.1

any_reply = st.one_of(
    st.sampled_from(["close", "reset", "silent"]),
    st.tuples(st.integers(0, 999), st.text(max_size=10)).map(lambda it: f"{it[0]:03} {it[1]}\r\n".encode()),
    st.sampled_from(
        [b"213 \r\n", b"213 99999999999999999999999\r\n", b"227 (1,2,3)\r\n", b"227 (127,0,0,1,999,9)\r\n"]
    ),
    st.sampled_from([b"\r\n", b"\n", b"220", b"2\r\n", b"220-a\r\n221 b\r\n", b"150 a\r\n226 b\r\n500 c\r\n"]),
    st.binary(max_size=30).map(lambda text: text + b"\r\n"),
)
any_answers = st.dictionaries(st.sampled_from(COMMANDS), any_reply, min_size=1, max_size=3)
any_data = st.dictionaries(
    st.sampled_from(sorted(TRANSFERS)),
    st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)),
    max_size=2,
)
any_end: st.SearchStrategy[Ends] = st.sampled_from(["close", "close", "reset"])


def pull_once(ledger: str, answers: Answers, data: dict[str, bytes], ends: Ends) -> PullReport | FtpError:
    """What a pull ended with.

    Raises:
        AssertionError: what lies there afterwards is not what the report says.
    """
    with tempfile.TemporaryDirectory() as folder, scripted_ftp(answers, data, ends) as server:
        ended: PullReport | FtpError
        try:
            ended = pulled(ledger, server, Path(folder), timeout_seconds=TIMEOUT)
        except FtpError as error:
            ended = error
        landed = files(Path(folder))
    parts = {name for name in landed if name.endswith(".partial")}
    assert all(landed[name] for name in parts), "an empty part was left"
    if isinstance(ended, PullReport):
        assert len(landed) - len(parts) == ended.pulled
    return ended


def main() -> int:
    """Pull many times."""
    said = "Pull from a server that answers at random."
    arguments = count_and_seed("ftp-replies", said, count=5_000, of="pulls").parse_args()
    seen: Counter[str] = Counter()
    longest = 0.0
    with temporary_stack([]) as stack, empty_database(LazyStack(stack).postgresql) as ledger:
        migrate(ledger)

        @hypothesis.seed(arguments.seed)
        @hypothesis.settings(max_examples=arguments.count, deadline=None, database=None)
        @hypothesis.given(any_answers, any_data, any_end)
        def every_pull_ends(answers: Answers, data: dict[str, bytes], ends: Ends) -> None:
            nonlocal longest
            begin = time.monotonic()
            ended = pull_once(ledger, answers, data, ends)
            longest = max(longest, time.monotonic() - begin)
            seen["a report" if isinstance(ended, PullReport) else "a sentence"] += 1

        every_pull_ends()
    say(f"{dict(sorted(seen.items()))}; the longest took {longest:.1f} s, with {TIMEOUT} s for a reply")
    return 0


if __name__ == "__main__":
    sys.exit(main())
