"""Archives that are encrypted, damaged, cut or above a limit."""

from __future__ import annotations

import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fm_pipeline.dicom.files.archives import limits as limits_module
from fm_pipeline.dicom.files.archives import tar_members
from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.dicom.scan import archive_members as members_module
from fm_pipeline_tests.dicom.files.random_archives import search_damage
from fm_pipeline_tests.dicom.files.test_archives import FILES, FOUND, IMAGE, OTHER, PACKED, TO_IMPORT, Look
from fm_pipeline_tests.support.archives import gzipped, tarred, zipped


def encrypted(content: bytes) -> bytes:
    """The flag for it set in the directory: nothing of the data is read then."""
    at = content.index(b"PK\x01\x02")
    return content[: at + 8] + bytes([content[at + 8] | 1]) + content[at + 9 :]


def test_a_file_with_a_password_has_its_own_reason_and_the_others_are_found(looked: Look) -> None:
    assert looked(encrypted(zipped(FILES))) == FOUND | {"!/CD/IM1": ("bad", "member_encrypted")}
    assert looked(encrypted(zipped(FILES[2:]))) == {
        "!/CD/readme.txt": ("bad", "member_encrypted"),
        "": ("skipped", "archive_opened"),
    }


def test_a_file_that_is_packed_by_an_unknown_method_has_its_own_reason(looked: Look) -> None:
    content = zipped(FILES)
    at = content.index(b"PK\x01\x02")
    deflate64 = content[: at + 10] + b"\x09\0" + content[at + 12 :]
    assert looked(deflate64) == FOUND | {"!/CD/IM1": ("bad", "member_method")}


def test_a_wrong_checksum_spoils_one_file(looked: Look) -> None:
    content = zipped(FILES, zipfile.ZIP_STORED)
    at = content.index(IMAGE) + len(IMAGE) - 1
    spoiled = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    assert looked(spoiled) == FOUND | {"!/CD/IM1": ("bad", "member_damaged")}


@pytest.mark.parametrize("place", [b"PK\x03\x04", b"PK\x01\x02"])
def test_a_zip_that_is_spoiled_in_one_place_says_so(looked: Look, place: bytes) -> None:
    content = zipped(FILES)
    at = content.rindex(place)
    found = looked(content[:at] + b"XX" + content[at + 2 :])
    assert ("bad", "archive_damaged") in found.values() or ("bad", "member_damaged") in found.values()
    assert found["!/CD/IM1"] == TO_IMPORT


def test_a_file_that_would_lie_before_the_beginning_of_a_zip_is_damaged(looked: Look) -> None:
    content = bytearray(zipped(FILES))
    at = content.index(b"PK\x05\x06") + 16  # where the directory begins: all files lie as much further back
    content[at : at + 4] = (int.from_bytes(content[at : at + 4], "little") + 1).to_bytes(4, "little")
    assert looked(bytes(content))["!/CD/IM1"] == ("bad", "member_damaged")


@pytest.mark.parametrize("program", [b"", b"MZ" + bytes(600)], ids=["ZIP", "self-extracting ZIP"])
def test_of_two_joined_zips_the_last_one_is_read_and_the_archive_is_called_damaged(
    looked: Look, program: bytes
) -> None:
    """Its directory names none of the files of the first one."""
    joined = program + zipped([("lost", OTHER)]) + zipped(FILES)
    assert looked(joined) == FOUND | {"": ("bad", "archive_damaged")}


def test_a_program_that_knows_the_marks_of_a_zip_is_not_taken_for_a_joined_one(looked: Look) -> None:
    """As the unpacking program at the beginning of a self-extracting ZIP does."""
    program = b"MZ" + bytes(600) + b"PK\x03\x04PK\x01\x02PK\x05\x06" + bytes(600)
    assert looked(program + zipped(FILES)) == FOUND


def test_a_zip_of_more_than_four_gigabytes_whose_positions_are_cut_to_32_bits_is_read(looked: Look) -> None:
    """As macOS writes it. From the second file on, all lies 4 GiB further back than the directory can say."""
    content = zipped([*FILES, ("CD/IM1", b"as the first one"), ("CD/last", IMAGE)])
    found = looked(content, hole=content.index(b"PK\x03\x04", 4))
    assert found == FOUND | {"!/CD/IM1 [2]": ("skipped", "text"), "!/CD/last": TO_IMPORT}


def test_a_zip_that_is_cut_is_bad_as_a_whole(looked: Look) -> None:
    assert looked(zipped(FILES)[:-40]) == {"": ("bad", "archive_cut")}


@pytest.mark.parametrize("pack", [tarred, lambda files: gzipped(tarred(files))], ids=["tar", "tar.gz"])
def test_a_tar_that_is_cut_gives_what_it_has_and_says_so(looked: Look, pack: Callable[..., bytes]) -> None:
    files = [("IM1", IMAGE), ("IM2", os.urandom(9_000) + OTHER)]
    content = pack(files)
    found = looked(content[: len(content) - 12_000 if content[:2] != b"\x1f\x8b" else -2_000])
    assert found == {"!/IM1": TO_IMPORT, "!/IM2": ("bad", "member_cut"), "": ("bad", "archive_cut")}


def test_a_tar_that_ends_behind_a_file_and_without_its_end_is_cut(looked: Look) -> None:
    content = tarred([("IM1", IMAGE)])
    end = 512 + -(-len(IMAGE) // 512) * 512
    assert looked(content[:end]) == {"!/IM1": TO_IMPORT, "": ("bad", "archive_cut")}


def test_a_tar_with_a_broken_header_is_not_taken_for_one_that_ends_there(looked: Look) -> None:
    content = tarred([("IM1", IMAGE), ("IM2", OTHER)])
    second = 512 + -(-len(IMAGE) // 512) * 512
    found = looked(content[:second] + b"#" + content[second + 1 :])
    assert found == {"!/IM1": TO_IMPORT, "": ("bad", "archive_damaged")}


def test_a_stream_that_is_damaged_or_cut_says_so(looked: Look) -> None:
    content = gzipped(IMAGE)
    assert looked(content[:-4])[""] == ("bad", "archive_cut")
    assert looked(content[:-8] + bytes(8))[""] == ("bad", "archive_damaged")


def test_a_zip_in_several_files_says_so(looked: Look) -> None:
    content = zipped(FILES)
    assert looked(content[:-18] + b"\1\0" + content[-16:]) == {"": ("bad", "archive_multivolume")}


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"members": 2}, "archive_too_many_members"),
        ({"unpacked_bytes": 4_000}, "archive_too_large"),
        ({"ratio": 1, "always_bytes": 100}, "archive_ratio"),
        ({"members": 0}, "archive_not_opened"),
    ],
)
@pytest.mark.parametrize("packed", ["deflated", "tar.gz"])
def test_an_archive_above_a_limit_is_refused_as_a_whole(
    looked: Look, limit: dict[str, int], reason: str, packed: str
) -> None:
    outcome = "skipped" if reason == "archive_not_opened" else "bad"
    assert looked(PACKED[packed], **limit) == {"": (outcome, reason)}


def test_a_small_archive_may_unpack_to_many_times_its_size(looked: Look) -> None:
    assert looked(PACKED["deflated"], ratio=1) == FOUND


def test_a_file_that_unpacks_to_more_than_the_archive_says_is_given_up_there(looked: Look) -> None:
    content = bytearray(zipped(FILES))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<L", 100)
    assert looked(bytes(content)) == FOUND | {"!/CD/IM1": ("bad", "member_damaged")}


def test_a_large_file_is_unpacked_into_a_file_of_our_own_that_is_gone_afterwards(
    looked: Look, limits: ArchiveLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members_module, "WHOLE_UP_TO_BYTES", 1_000)
    made: list[int] = []
    real = ArchiveLimits.temporary_file

    def noted(self: ArchiveLimits) -> object:
        made.append(stat.S_IMODE(self.folder.parent.stat().st_mode) if self.folder.parent.exists() else 0)
        return real(self)

    monkeypatch.setattr(ArchiveLimits, "temporary_file", noted)
    assert looked(PACKED["deflated"]) == FOUND
    assert len(made) >= 2
    assert stat.S_IMODE(limits.folder.stat().st_mode) == 0o700
    assert list(limits.folder.iterdir()) == []


def test_where_there_is_no_room_to_unpack_the_file_is_tried_again(
    looked: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ArchiveLimits) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArchiveLimits, "temporary_file", full)
    assert looked(gzipped(IMAGE)) == {"": ("failed", "no_room_to_unpack")}


def test_unpacking_leaves_room_for_others_on_the_disk(looked: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "LEFT_FREE_BYTES", 1 << 62)
    assert looked(gzipped(IMAGE)) == {"": ("failed", "no_room_to_unpack")}
    assert looked(zipped(FILES)) == FOUND  # nothing of it needs room


def test_no_archive_stays_open(looked: Look) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for content in (*PACKED.values(), zipped(FILES)[:-40], gzipped(IMAGE)[:-4]):
        looked(content)
    assert len(os.listdir("/proc/self/fd")) == before


def test_every_outcome_of_an_archive_is_one_that_a_row_can_have(looked: Look) -> None:
    assert {outcome for outcome, _ in looked(PACKED["deflated"]).values()} <= {"", *map(str, Outcome)}


def test_random_damage_has_a_reason_stops_nothing_and_never_changes_what_a_zip_gives(tmp_path: Path) -> None:
    search_damage(tmp_path / "damaged", 60, seed=1)


def test_an_error_that_no_library_announced_is_the_damage_of_one_archive(
    looked: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise IndexError("a bug")

    monkeypatch.setattr(tarfile.TarFile, "next", fails)
    looked(PACKED["deflated"], "whole.zip")
    found = looked(PACKED["tar, PAX"])
    assert found[""] == ("bad", "archive_damaged")


def test_a_header_of_a_tar_that_is_longer_than_any_is_not_read_into_memory(
    looked: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_members, "_LONGEST_HEADER", 4_096)
    assert looked(tarred([("x" * 5_000, IMAGE)]))[""] == ("bad", "archive_damaged")
    assert looked(tarred([("x" * 500, IMAGE)]))[""] == ("skipped", "archive_opened")


def test_long_names_count_against_the_limit_of_members(looked: Look) -> None:
    assert looked(zipped([("x" * 5_000, IMAGE)]), members=5) == {"": ("bad", "archive_too_many_members")}
