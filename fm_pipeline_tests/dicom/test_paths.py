"""Paths lose nothing as text, and only what is allowed is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.dicom.errors import PathRefused
from fm_pipeline.dicom.paths import allowed, printable, real_path

NAMES = [
    b"plain.dcm",
    b"new\nline",
    b"tab\there",
    b"latin\xe9",
    "caf\u00e9".encode(),
    "cafe\u0301".encode(),
    b"-rf",
    b"quote'\"`$(id);",
    "\U0001f9b4".encode(),
    b"100%41",
    b"back\\slash",
    "right\u202eto left".encode(),
    b"x" * 255,
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.hard_case(39)
def test_every_name_is_printable_text_and_comes_back(name: bytes) -> None:
    path = os.fsdecode(b"/hospital/" + name)
    text = printable(path)
    assert text.isprintable()
    text.encode()  # no lone surrogate: a database takes it
    assert real_path(text) == path


@pytest.mark.hard_case(39)
def test_two_spellings_of_one_letter_look_like_two_names() -> None:
    assert printable("/r/caf\u00e9") == "/r/caf\u00e9"
    assert printable("/r/cafe\u0301") == "/r/cafe%CC%81"


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
@pytest.mark.hard_case(39)
def test_any_bytes_come_back(name: bytes) -> None:
    text = printable(os.fsdecode(name))
    assert text.isprintable()
    assert os.fsencode(real_path(text)) == name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "hospital"
    (root / "2025").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (root / "way-out").symlink_to(tmp_path / "secret")
    (root / "short-cut").symlink_to(root / "2025")
    return root


@pytest.mark.hard_case(47)
def test_a_directory_below_a_root_is_allowed(root: Path) -> None:
    assert allowed(f"{root}/2025/", [root]) == str(root / "2025")
    assert allowed(str(root), ["/nowhere", root]) == str(root)


@pytest.mark.parametrize(
    "asked",
    [
        "{root}/../secret",
        "{root}/2025/../../secret",
        "{root}/way-out",
        "{root}/short-cut",
        "{root}/HOSPITAL",
        "{root}/missing",
        "{root}-other",
        "/etc",
        "/",
        "2025",
        "",
        "{root}/2025\0",
        "//etc",
    ],
)
@pytest.mark.hard_case(47)
def test_everything_else_is_refused(root: Path, asked: str) -> None:
    with pytest.raises(PathRefused) as refused:
        allowed(asked.format(root=root), [root])
    assert "hospital" not in str(refused.value)


@pytest.mark.hard_case(47)
def test_without_a_root_nothing_is_allowed(root: Path) -> None:
    with pytest.raises(PathRefused):
        allowed(str(root), [])


@pytest.mark.hard_case(47)
def test_a_root_that_is_a_link_is_allowed_and_links_below_it_are_not(root: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.symlink_to(root)
    assert allowed(str(mount / "2025"), [mount]) == str(mount / "2025")
    with pytest.raises(PathRefused):
        allowed(str(mount / "way-out"), [mount])
