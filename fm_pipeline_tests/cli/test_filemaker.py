"""`fm-pipeline filemaker record` and `replay`, run as commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fm_pipeline.cli.main import main
from fm_pipeline.sandbox.clinic.fill import fill_filemaker
from fm_pipeline.sandbox.filemaker.call import Behaviour, ODataBehaviour
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in
from fm_pipeline_tests.support.clinics import small_clinic

DATABASE, USER, PASSWORD = "clinic", "pipeline", "a password of the tests"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """FileMaker with the layouts of the profile nexus."""
    made = Store(tmp_path_factory.mktemp("filemaker") / "state.sqlite")
    made.create_database(DATABASE, [ServerAccount(USER, PASSWORD)])
    fill_filemaker(made, small_clinic(), DATABASE)
    yield made
    made.close()


def run(*words: str, url: str = "", code: int = 0) -> str:
    environment = {
        "FILEMAKER_URL": url,
        "FILEMAKER_DATABASE": DATABASE,
        "FILEMAKER_USERNAME": USER,
        "FILEMAKER_PASSWORD": PASSWORD,
        "COLUMNS": "200",
    }
    result = CliRunner().invoke(main, ["filemaker", *words], env=environment)
    assert result.exit_code == code, result.output
    return result.output


def recorded(store: Store, file: Path, behaviour: Behaviour) -> str:
    with running_stand_in(store, behaviour=behaviour) as stand_in:
        return run("record", "--out", str(file), url=stand_in.base_url)


def test_a_recording_of_the_stand_in_shows_no_difference_to_it(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "recording.json"
    said = recorded(store, file, Behaviour())
    assert "requests sent, nothing written on the server" in said
    assert "holds no value of a record" in said
    assert "Not understood" not in said
    before = file.read_bytes()
    assert "is there already" in run("record", "--out", str(file), url="http://127.0.0.1:9", code=2)
    assert file.read_bytes() == before
    assert "The stand-in answers as this server does." in run("replay", str(file))


def test_a_replay_names_the_switches_that_explain_the_differences(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "recording.json"
    recorded(store, file, Behaviour(version=18, odata=ODataBehaviour(long_names=True, answers_count=False)))
    said = run("replay", str(file), code=1)
    assert "the code is 960; from the stand-in: 0  [version=18]" in said
    assert "the key @odata.count is there; not from the stand-in  [long_names=True]" in said
    assert "the status is 400; from the stand-in: 200  [answers_count=False]" in said
    assert "0 that no switch explains." in said
    assert "answers_count=False, long_names=True, version=18" in said


def test_a_difference_without_a_switch_is_listed_too(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "recording.json"
    recorded(store, file, Behaviour())
    content = json.loads(file.read_text())
    (page,) = [step for step in content["steps"] if (step["step"], step["table"]) == ("first page", "API_Patients")]
    (exchange,) = page["exchanges"]
    exchange["shape"]["response/data[]/fieldData/dob"] = ["text 99/99/9999"]
    exchange["shape"]["response/data[]/modId"] = ["number, 1 digits"]
    file.write_text(json.dumps(content))
    said = run("replay", str(file), code=1)
    assert "response/data[]/fieldData/dob is: text 99/99/9999; from the stand-in: text 9999-99-99" in said
    assert "response/data[]/modId is: number; from the stand-in: text" in said
    assert "2 differences, 2 that no switch explains." in said


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "recording.json"
    whole = {"format": 1, "version": "", "names_kept": False, "tables": [], "steps": []}
    for wrong in ({"password": "x"}, {"format": 2}, {"version": "a\x1b[2J"}, {"steps": [{"step": 1}]}):
        file.write_text(json.dumps(whole | wrong))
        assert "The file cannot be read as a recording." in run("replay", str(file), code=1)
