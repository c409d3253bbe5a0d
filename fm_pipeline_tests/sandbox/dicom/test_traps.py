"""The tree of traps is what it says, and scan and inspection see in it what they must."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fm_pipeline.dicom import reasons
from fm_pipeline.dicom.files.is_dicom import inspect
from fm_pipeline.dicom.files.open import open_found, unreadable_reason
from fm_pipeline.dicom.model import FoundFile, Instance, Outcome, SetAside
from fm_pipeline.dicom.scan.walk import Met, scan
from fm_pipeline.sandbox.dicom.traps import Trap, make_traps


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Trap]]]:
    folder = tmp_path_factory.mktemp("hospital")
    yield folder, make_traps(folder)
    shutil.rmtree(folder)  # pytest's own clean-up gives up on a path that is too long


def judge(met: Met) -> tuple[str, str]:
    """Outcome and reason as far as they are known without Orthanc and without the other files."""
    if isinstance(met, SetAside):
        return Outcome.SKIPPED, met.reason
    if not isinstance(met, FoundFile):
        return Outcome.FAILED, met.reason
    try:
        with open_found(met) as file:
            found = inspect(file, met.size)
    except OSError as error:
        return Outcome.FAILED, unreadable_reason(error)
    if isinstance(found, Instance):
        return (Outcome.SUSPECT, "nested_too_deep") if found.nested_too_deep else (Outcome.IMPORTED, "")
    return found.outcome, found.reason


@pytest.mark.hard_case(34, 35, 38, 39, 40, 48)
def test_every_trap_ends_as_it_must(tree: tuple[Path, list[Trap]]) -> None:
    folder, traps = tree
    seen = {met.path: judge(met) for met in scan(str(folder))}
    for trap in traps:
        if not trap.on_disk:
            continue
        expected = (Outcome.IMPORTED, "") if trap.twin else (trap.outcome, trap.reason)
        if trap.reason in reasons.ARCHIVES:
            expected = (Outcome.SKIPPED, reasons.ARCHIVE)  # to be opened
        assert seen.pop(trap.path) == expected, trap
    assert seen == {}


def test_the_traps_cover_every_reason_that_a_file_alone_can_have(tree: tuple[Path, list[Trap]]) -> None:
    _, traps = tree
    # A device cannot be made without being the administrator; the others belong to the reading, or to Orthanc.
    cannot_be_made = {"device", "deflate_broken", "uid_too_long", "damaged_copy"}
    of_others = {"", "permission", *reasons.REPEATED, *reasons.ARCHIVES}
    assert {trap.reason for trap in traps} - of_others == {*reasons.SKIPPED, *reasons.BAD} - cannot_be_made
