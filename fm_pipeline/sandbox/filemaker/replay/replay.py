"""Asks the stand-in what a recording has asked a server, lists the differences, and finds the switches that explain
them.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fm_pipeline.filemaker.connect import FileMakerAccount
from fm_pipeline.filemaker.recorder.asking import Questions, record
from fm_pipeline.filemaker.recorder.differences import AnswerDifference, differences
from fm_pipeline.filemaker.recorder.names import Names
from fm_pipeline.filemaker.recorder.recording import Recording
from fm_pipeline.sandbox.filemaker.call import Behaviour, Engine, ODataBehaviour
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.filemaker.replay.invented import invent_file
from fm_pipeline.sandbox.filemaker.serving import Server, listen, url

_DATABASE, _USER = "Recorded", "recorder"
_START_LIMIT = 60  # seconds
# What else a switch can say, of those that change an answer to what a recording asks. docs/stand-in.md explains them.
_VERSIONS = (17, 18, 19, 20, 22)
_SWITCHES: Sequence[tuple[str, Any]] = (
    ("authenticated_stream", 2),
    ("redirects_streams", False),
    ("finds_fields_off_layout", False),
    ("encoded_options", "read"),
    ("encoded_options", "refuse"),
    ("long_names", True),
    ("answers_count", False),
    ("relative_links", True),
    ("links_by", "position"),
    ("takes_bare_names", False),
)
_OF_ODATA = frozenset(each.name for each in fields(ODataBehaviour))


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Args:
        found: the differences between the recording and the stand-in as it is by default.
        switches: by difference the first switch that makes it disappear.
        left: the differences that stay with all these switches together.
        answered: what the stand-in answered by default.
    """

    found: Sequence[AnswerDifference]
    switches: dict[AnswerDifference, str]
    left: Sequence[AnswerDifference]
    answered: Recording


def replay(recording: Recording) -> Replay:
    """Hold the stand-in against a recording."""
    with tempfile.TemporaryDirectory(prefix="fm_pipeline_replay_") as folder:
        store = Store(Path(folder) / "state.sqlite")
        try:
            password = secrets.token_urlsafe(16)
            store.create_database(_DATABASE, [ServerAccount(_USER, password)])
            invent_file(store, _DATABASE, recording)
            engine = Engine(store)
            with _served(engine) as base_url:
                account = FileMakerAccount(base_url, _DATABASE, _USER, SecretStr(password))
                return _Comparison(recording, engine, account).result()
        finally:
            store.close()


@dataclass(frozen=True)
class _Comparison:
    recording: Recording
    engine: Engine
    account: FileMakerAccount

    def result(self) -> Replay:
        behaviour, answered = Behaviour(), self._answers(Behaviour())
        found = left = differences(self.recording, answered)
        candidates = _candidates(self.recording) if found else []
        alone = [(switch, self._differ(_with(behaviour, *switch))) for switch in candidates]
        switches: dict[AnswerDifference, str] = {}
        # Those that explain most come first. A switch counts if with it fewer differences are left.
        for (name, value), rest in sorted(alone, key=lambda each: len(each[1])):
            if len(rest) >= len(found) or not set(left) - set(rest):
                continue
            together = _with(behaviour, name, value)
            now = self._differ(together) if behaviour != Behaviour() else rest
            if len(now) < len(left):
                switches |= {each: f"{name}={value}" for each in left if each not in now}
                behaviour, left = together, now
        return Replay(found, switches, left, answered)

    def _differ(self, behaviour: Behaviour) -> list[AnswerDifference]:
        return differences(self.recording, self._answers(behaviour))

    def _answers(self, behaviour: Behaviour) -> Recording:
        self.engine.behaviour = behaviour
        tables = self.recording.tables
        return record(
            Questions(
                self.account,
                layouts=[[each.name] for each in tables if each.door == "data_api"],
                tables=[[each.name] for each in tables if each.door == "odata"],
                names=Names((), keep_all=True),
                wrong_password=any(step.step == "wrong password" for step in self.recording.steps),
            )
        )


def _candidates(recording: Recording) -> list[tuple[str, Any]]:
    """Return the switches; of versions only the server's own, if it is another one than the stand-in's."""
    own = recording.version.partition(".")[0]
    versions = [int(own)] if own in map(str, _VERSIONS) else _VERSIONS
    return [*(("version", version) for version in versions), *_SWITCHES]


def _with(behaviour: Behaviour, name: str, value: Any) -> Behaviour:
    if name in _OF_ODATA:
        return replace(behaviour, odata=replace(behaviour.odata, **{name: value}))
    return replace(behaviour, **{name: value})


@contextmanager
def _served(engine: Engine) -> Iterator[str]:
    """Serve from a thread of this process, and give the address."""
    ready = threading.Event()
    listening = listen()
    server = Server(engine, None, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        ready.wait(_START_LIMIT)
        yield url(listening, False)
    finally:
        server.should_exit = True
        thread.join(_START_LIMIT)
        listening.close()
