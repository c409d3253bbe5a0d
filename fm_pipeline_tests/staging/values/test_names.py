"""Names that are looked up in Nexus."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.staging.values.names import AMBIGUOUS, UNKNOWN, Found, NameIndex, normalise_name

INDEX = NameIndex([("1", "Newcastle"), ("2", "Pat O\u2019Neil"), ("3", "Zoë  Straße"), ("4", "Twin"), ("5", "TWIN ")])


@pytest.mark.parametrize(
    ("name", "nexus_id"),
    [
        ("newcastle", "1"),
        ("  NEWCASTLE ", "1"),
        ("\u00a0Newcastle\u202f", "1"),
        ("Pat O'Neil", "2"),
        ("pat\u00a0o\u2018neil", "2"),
        ("Zoe\u0308 Strasse", "3"),
        ("ZOË   STRASSE", "3"),
    ],
)
def test_case_7_a_name_is_found_whatever_its_case_blanks_accents_and_apostrophes(name: str, nexus_id: str) -> None:
    assert INDEX.find(name) == Found(nexus_id)


def test_case_7_a_name_that_matches_two_rows_is_ambiguous() -> None:
    assert INDEX.find("twin") == AMBIGUOUS


@pytest.mark.parametrize("name", ["", "New castle", "Zoe Strasse", "Newcastl"])
def test_case_7_a_name_that_matches_none_is_unknown(name: str) -> None:
    assert INDEX.find(name) == UNKNOWN


@given(st.text())
def test_normalising_twice_changes_nothing(name: str) -> None:
    assert normalise_name(normalise_name(name)) == normalise_name(name)


@given(st.text())
def test_every_name_finds_itself_composed_or_decomposed(name: str) -> None:
    index = NameIndex([("1", unicodedata.normalize("NFD", name))])
    assert index.find(unicodedata.normalize("NFC", name)) == Found("1")
