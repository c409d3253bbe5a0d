"""fm-odata-client and @proofkit/fmodata against the stand-in: the main jobs of clients that other people published."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.sandbox.filemaker.call import Behaviour, ODataBehaviour
from fm_pipeline.sandbox.filemaker.data.schema import Script
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import PASSWORD
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in
from fm_pipeline_tests.support.pictures import picture
from fm_pipeline_tests.support.tls import make_certificate

SCRIPTS = Path(__file__).parent / "node"
INSTALLED = Path(sys.prefix) / "node"
LIMIT_SECONDS = 120


def run(script: str, **environment: str) -> dict[str, Any]:
    """What a script printed. It is read from standard input, so that it finds the packages of the folder it runs in."""
    node = shutil.which("node")
    if node is None or not (INSTALLED / "node_modules").is_dir():
        reason = "node or its packages are missing: install nodejs and npm, then run scripts/test"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    ended = subprocess.run(  # noqa: S603 - our own command
        [node, "--input-type=module", "-"],
        cwd=INSTALLED,
        input=(SCRIPTS / script).read_text(encoding="utf-8"),
        env={"PATH": os.environ["PATH"], "password": PASSWORD, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    printed: dict[str, Any] = json.loads(ended.stdout)
    return printed


@pytest.fixture
def greeting(store: Store, keyed: str) -> str:
    """The file, with a script that answers to its parameter."""
    store.create_script(keyed, Script("Greet", result="hello {parameter}"))
    return keyed


@pytest.fixture
def soliant_server(store: Store) -> Iterator[StandIn]:
    """A server as fm-odata-client takes for granted: long names, and a row as the answer to an update."""
    with running_stand_in(
        store, behaviour=Behaviour(odata=ODataBehaviour(long_names=True, update_returns_row=True))
    ) as server:
        yield server


def test_fm_odata_client_does_its_main_jobs(soliant_server: StandIn, greeting: str) -> None:
    host = soliant_server.base_url.removeprefix("http://")
    jpeg = base64.b64encode(picture(2)).decode()
    assert run("soliant.mjs", host=host, database=greeting, jpeg=jpeg) == {
        "databases": True,
        "tables": True,
        "metadata": ["id"],
        "list": [{"id": "P2"}, {"id": "P1"}],
        "counted": {"count": 2, "rows": ["P1", "P4"]},
        "count": 1,
        "key": {"number": 2, "contact": "O'B/1"},
        "apostrophe": "Ada",
        "missing": None,
        "one": None,
        "related": [1, 2, 3],
        "created": {"id": "C3", "First Name": "Mary"},
        "updated": {"id": "C3", "First Name": "Maria"},
        "script": {"code": 0, "resultParameter": "hello Ada"},
        "noScript": [404, "104"],
        "wrongField": [400, "8309"],
        "container": ["image/jpeg", True],
        "field": "Maria",
        "many": 2,
        "left": [2, 2],
    }


def test_proofkit_fmodata_does_its_main_jobs(store: Store, greeting: str, tmp_path: Path) -> None:
    tls = make_certificate(tmp_path)
    with running_stand_in(store, behaviour=Behaviour(version=22), tls=tls) as server:
        jpeg = base64.b64encode(picture(1)).decode()
        trusted = str(tls[0])
        done = run("proofkit.mjs", url=server.base_url, database=greeting, jpeg=jpeg, NODE_EXTRA_CA_CERTS=trusted)
    assert done == {
        "databases": True,
        "tables": True,
        "metadata": ["id"],
        "list": [{"id": "P2"}, {"id": "P1"}],
        "filtered": [{"id": "P1"}, {"id": "P4"}],
        "count": 4,
        "key": {"number": 2, "contact": "O'B/1"},
        "rowId": {"number": 3, "contact": "O'B/1"},
        "apostrophe": "Ada",
        "container": True,
        "missing": "-1023",
        "related": [{"number": 1}, {"number": 2}, {"number": 3}],
        "expanded": [
            {"id": "O'B/1", "contact_visits": [{"number": 1}, {"number": 2}]},
            {"id": "C2", "contact_visits": []},
        ],
        "created": {"id": "C3", "First Name": "Mary"},
        "updated": {"updatedCount": 1},
        "many": {"updatedCount": 2},
        "deletedMany": {"deletedCount": 1},
        "deleted": {"deletedCount": 1},
        "script": {"resultCode": 0, "result": "hello Ada"},
    }
