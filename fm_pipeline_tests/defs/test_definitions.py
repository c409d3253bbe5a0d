"""The code location as users and other tools see it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from fm_pipeline.definitions import build_defs, defs
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP
from fm_pipeline.settings import Settings
from fm_pipeline_tests.defs.assets.test_runs import TRANSACTION
from fm_pipeline_tests.support.further_tables import with_example, write_profile

REPOSITORY = dg.Definitions.get_repository_def(defs)
SNAPSHOT = Path(__file__).with_name("definitions_snapshot.txt")
STEPS = Path(__file__).with_name("jobs_snapshot.txt")


def _names() -> str:
    """Asset keys with their groups, checks, jobs, schedules and sensors, a line each."""
    graph = defs.resolve_asset_graph()
    lines = [f"asset {graph.get(key).group_name} {key.to_user_string()}" for key in graph.get_all_asset_keys()]
    lines += [f"check {key.asset_key.to_user_string()} {key.name}" for key in graph.asset_check_keys]
    lines += [f"job {job.name}" for job in REPOSITORY.get_all_jobs()]
    lines += [f"schedule {s.name} {s.default_status.value}" for s in REPOSITORY.schedule_defs]
    lines += [f"sensor {s.name} {s.default_status.value}" for s in REPOSITORY.sensor_defs]
    return "\n".join(sorted(lines)) + "\n"


def test_a_renamed_asset_job_schedule_or_sensor_is_a_decision() -> None:
    """Their names are in people's bookmarks and in Dagster's history. Write the snapshot anew if you mean it."""
    assert _names() == SNAPSHOT.read_text("utf-8")


def test_the_definitions_load_in_a_fresh_interpreter_without_any_setting() -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DAGSTER_DISABLE_TELEMETRY": "1"}
    code = "import fm_pipeline.definitions as d; d.defs.resolve_job_def('full_reimport')"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_every_asset_says_what_it_is_and_who_owns_it() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name not in {None, "default"}, key


def test_the_phases_follow_each_other_in_the_mandated_order() -> None:
    graph = defs.resolve_asset_graph()
    for before, after in pairwise(TRANSACTION):
        assert dg.AssetKey(before) in graph.get(dg.AssetKey(after)).parent_keys


def test_images_come_from_the_patients_that_they_are_matched_with() -> None:
    graph = defs.resolve_asset_graph()
    for name in ("filemaker_image_files", "patient_image_copies", "linked_image_batches", "linked_images"):
        assert dg.AssetKey("patients") in graph.get(dg.AssetKey(name)).parent_keys, name
    assert dg.AssetKey("image_batches") in graph.get(dg.AssetKey("linked_image_batches")).parent_keys


def test_what_a_job_does_and_in_which_order_is_a_decision() -> None:
    """A dependency that is only lineage brings no other asset into a job, and changes no order."""
    lines = []
    for name in sorted(job.name for job in REPOSITORY.get_all_jobs() if not job.name.startswith("__")):
        graph = defs.resolve_job_def(name).graph
        steps = [node.name for node in graph.nodes_in_topological_order]
        lines.append(f"{name}: {', '.join(steps)}")
    assert "\n".join(lines) + "\n" == STEPS.read_text("utf-8")


def test_a_plan_and_the_inventory_of_the_hospital_grow_old() -> None:
    graph = defs.resolve_asset_graph()
    old = {key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).freshness_policy}
    assert old == {"reimport_plan", "dicom_inventory"}


def test_nothing_that_runs_by_itself_can_change_nexus() -> None:
    for schedule in REPOSITORY.schedule_defs:
        selected = defs.resolve_job_def(schedule.job_name).asset_layer.executable_asset_keys
        assert dg.AssetKey("deleted_patient_data") not in selected
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


def test_the_page_of_operations_names_every_schedule_and_sensor_when_it_runs_and_what_it_starts() -> None:
    page = (TOP / "docs" / "operations.md").read_text("utf-8")
    section = page.split("\n### Schedules and sensors\n")[1].split("\n### ")[0]
    row = r"^\| `(\w+)` \| ([^|]+) \| (?:`(\w+)`|nothing\b)[^|]* \| (on|off) \|$"
    rows = set(re.findall(row, section, re.MULTILINE))
    there = set()
    for each in REPOSITORY.schedule_defs:
        minute, hour, _, _, weekday = str(each.cron_schedule).split()
        day = {"*": "day", "0": "Sunday"}[weekday]
        there.add((each.name, f"every {day} at {int(hour):02}:{int(minute):02}", each.job_name, _at_first(each)))
    for sensor in REPOSITORY.sensor_defs:
        job = "".join(target.job_name for target in sensor.targets)
        there.add((sensor.name, f"every {sensor.minimum_interval_seconds} seconds", job, _at_first(sensor)))
    assert rows == there


def test_the_page_of_commands_names_every_job() -> None:
    page = (TOP / "docs" / "commands.md").read_text("utf-8")
    section = page.split("\n## Dagster's jobs\n")[1].split("\n## ")[0]
    jobs = {job.name for job in REPOSITORY.get_all_jobs() if not job.name.startswith("__")}
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == jobs


def _at_first(each: dg.ScheduleDefinition | dg.SensorDefinition) -> str:
    return "on" if each.default_status.value == "RUNNING" else "off"


def test_the_schedules_tick_in_the_clinics_time_zone() -> None:
    location = build_defs(read_time_zone=lambda: "Europe/Berlin")
    zones = {schedule.name: schedule.execution_timezone for schedule in location.get_repository_def().schedule_defs}
    assert zones == {schedule.name: "Europe/Berlin" for schedule in REPOSITORY.schedule_defs}


@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning")  # Dagster's own
def test_no_setting_is_read_for_what_the_web_server_receives() -> None:
    def never() -> Settings:
        raise AssertionError("settings are read when a run starts")

    location = build_defs(read_settings=never, read_time_zone=lambda: "UTC")
    assert '"nightly_plan"' in dg.serialize_value(RepositorySnap.from_def(location.get_repository_def()))


def test_a_table_of_the_clinics_own_profile_is_in_the_graph_and_a_profile_that_is_wrong_hides_nothing(
    tmp_path: Path,
) -> None:
    code = (
        "import fm_pipeline.definitions as d; g = d.defs.resolve_asset_graph();"
        "print(*sorted(k.to_user_string() for k in g.get_all_asset_keys()), sep='\\n');"
        "print(*sorted(f'{k.asset_key.to_user_string()} {k.name}' for k in g.asset_check_keys), sep='\\n');"
        "print('before', *sorted(k.to_user_string() for k in g.get(d.dg.AssetKey('staged_patients')).parent_keys))"
    )

    def shown(profile: Path) -> set[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DAGSTER_DISABLE_TELEMETRY": "1"}
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code],
            env=environment | {"FILEMAKER_PROFILE": str(profile)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return set(done.stdout.splitlines())

    with_tables = shown(write_profile(tmp_path, with_example()))
    assert {
        "filemaker_referrals",
        "staged_referrals",
        "staged_referrals rules",
        "patients referral_doctors_content",
        "patients referral_doctors_filemaker_id_once",
        "notes_and_messages referrals_count",
    } <= with_tables
    (before,) = (line.split() for line in with_tables if line.startswith("before "))
    assert "staged_referral_doctors" in before
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("patient: 1")
    assert "staged_patients" in shown(wrong)
