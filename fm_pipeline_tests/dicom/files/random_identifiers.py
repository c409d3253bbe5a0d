"""Random identifiers against a real Orthanc: `python -m fm_pipeline_tests.dicom.files.random_identifiers --count 20`.

A round has 500 files and a seed of its own, which it names: begin with that to go on. Exit code 0 if all of it held.
"""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fm_pipeline.dicom.files.elements import BIG_ENDIAN, EXPLICIT, IMPLICIT
from fm_pipeline.dicom.model import Instance
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline_tests.dicom.files.handwritten import PATIENT_ID, SERIES, SOP, STUDY, Handwritten
from fm_pipeline_tests.dicom.files.verdicts import is_id, look, orthanc_says
from fm_pipeline_tests.support.orthanc import own_orthanc
from fm_pipeline_tests.support.searching import count_and_seed, say

ROUND = 500
_CHARACTER_SETS = (
    *(f"ISO_IR {number}" for number in (6, 13, 87, 100, 101, 109, 110, 126, 127, 138, 144, 148, 149, 166, 192, 203)),
    *(f"ISO 2022 IR {number}" for number in (6, 13, 58, 87, 100, 126, 144, 149, 159, 166)),
    "GB18030",
    "GBK",
    "ISO_IR 999",
    "latin1",
)
_TEXTS = (
    "A1",
    "caf\u00e9",
    "\u0416\u0434",
    "\u03b1\u03b2",
    "\u5c71\u7530",
    "\u738b\u5c0f",
    "\uae40\ud76c",
    "\uff94\uff8f",
)
_CODECS = ("latin-1", "utf-8", "iso8859-5", "iso8859-7", "shift_jis", "iso2022_jp", "gb18030", "gb2312", "euc_kr")


def handwritten_files() -> SearchStrategy[Handwritten]:
    """Files whose identifiers, character sets and VRs are anything that a value can be."""
    uids = st.one_of(
        st.text(alphabet="0123456789. \t\r\n\0", min_size=1, max_size=70).map(str.encode),
        st.binary(min_size=1, max_size=20),
        st.integers(60, 300).map(lambda length: b"1." * (length // 2)),
    )
    patient_ids = st.one_of(
        st.binary(max_size=24),
        st.text(alphabet="AZaz09-_.\\^=~ \0\t", max_size=70).map(str.encode),
        st.tuples(st.sampled_from(_TEXTS), st.sampled_from(_CODECS)).map(
            lambda each: each[0].encode(each[1], "ignore")
        ),
        st.tuples(st.binary(max_size=6), st.sampled_from((b"\x1b$B", b"\x1b(B", b"\x1b$)C", b"\x1b-A", b"\x1b"))).map(
            lambda each: each[0] + each[1] + each[0]
        ),
    )
    one_set = st.one_of(st.sampled_from(_CHARACTER_SETS), st.just(""), st.text(alphabet="ISO_R 10", max_size=10))
    character_sets = st.one_of(
        st.none(),
        st.lists(one_set, min_size=1, max_size=3).map(lambda each: "\\".join(each).encode()),
    )
    vrs = st.one_of(
        st.just(()),
        st.tuples(
            st.tuples(
                st.sampled_from((PATIENT_ID, STUDY, SERIES, SOP)),
                st.sampled_from(("UN", "LO", "SH", "UI", "ST", "UT", "CS", "DS", "OB", "US", "AT")),
            )
        ),
    )
    return st.builds(
        Handwritten,
        patient_id=st.one_of(st.none(), patient_ids),
        study=uids,
        series=st.one_of(st.just(b"1.2.3"), uids),
        sop=st.one_of(st.just(b"1.2.4"), uids),
        character_set=character_sets,
        encoding=st.sampled_from((EXPLICIT, EXPLICIT, IMPLICIT, BIG_ENDIAN)),
        vrs=vrs,
    )


def see(orthanc: Orthanc, written: Handwritten) -> None:
    """Ours and Orthanc's word of one file must fit."""
    found, said = look(written.file), orthanc_says(orthanc, written.file)
    if isinstance(found, Instance):
        assert said == found.orthanc_id or not found.id_certain or not is_id(said)
    else:
        assert not is_id(said)


def search(orthanc: Orthanc, count: int, seed: int) -> None:
    """Look for a file that is read otherwise than Orthanc reads it.

    Raises:
        AssertionError: there is one; it is shown as small as it can be.
    """

    @with_seed(seed)
    @settings(max_examples=count, database=None, deadline=None)
    @given(handwritten_files())
    def one(written: Handwritten) -> None:
        see(orthanc, written)

    one()


def main() -> int:
    """Rounds of random files."""
    arguments = count_and_seed(
        "dicom-identifiers", __doc__, count=20, of="rounds of 500 files", seed="of the first round"
    ).parse_args()
    with own_orthanc() as server:
        of = server.settings()
        with Orthanc(of["ORTHANC_URL"], of["ORTHANC_USERNAME"], of["ORTHANC_PASSWORD"]) as orthanc:
            for seed in range(arguments.seed, arguments.seed + arguments.count):
                search(orthanc, ROUND, seed)
                say(f"seed {seed}: {ROUND} files, each read as Orthanc reads it or called uncertain")
    return 0


if __name__ == "__main__":
    sys.exit(main())
