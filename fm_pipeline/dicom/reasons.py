"""The reasons for outcomes: stable ids, which are stored in history, and a sentence for each.

Ids never change, because rows of history contain them. `docs/dicom.md` lists them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fm_pipeline.dicom.model import Outcome

# Skipped: the file is not an image of a patient, so nothing is lost.
SKIPPED: Mapping[str, str] = MappingProxyType(
    {
        "empty_file": "The file is empty.",
        "zeros": "The beginning of the file is all zeros; perhaps it was reserved and never written.",
        "picture": "A picture or film in a format other than DICOM (JPEG, PNG, TIFF, MP4 and the like).",
        "document": "A document (PDF, Word, Excel, RTF and the like).",
        "text": "A text (plain, HTML, XML, JSON and the like).",
        "not_dicom": "The content is not DICOM.",
        "dicomdir": "A directory of DICOM files (DICOMDIR, Media Storage Directory), not an image.",
        "not_of_a_patient": "DICOM that belongs to no patient (a hanging protocol, a colour palette, a scanner's"
        " protocol, an implant template and the like). Orthanc does not store it.",
        "temporary_name": "The name says that the file is still being written (.partial, .tmp and the like).",
        "system_file": "A file that the operating system keeps beside others (._name, Thumbs.db, .DS_Store).",
        "excluded_folder": "A folder of deleted files, of snapshots or of a system's own data (#recycle, .snapshot and"
        " the like), or one that DICOM_EXCLUDED_FOLDERS names. Nothing in it was looked at.",
        "link_inside_root": "A link to something inside the root, which is scanned in its own place.",
        "link_outside_root": "A link that leads out of the root; it is not followed.",
        "link_broken": "A link to nothing.",
        "link_loop": "A link that leads back to itself.",
        "fifo": "A pipe, not a file.",
        "socket": "A socket, not a file.",
        "device": "A device, not a file.",
    }
)
# Reasons of archives and of files in them. `of_archive` has their outcomes.
ARCHIVES: Mapping[str, str] = MappingProxyType(
    {
        "archive_opened": "An archive that was opened. Each file in it has a row of its own, named archive!/file.",
        "archive_without_dicom": "An archive, or a program or package that is one, in which no file is DICOM. Its files"
        " have no rows.",
        "archive_not_opened": "An archive of a kind that is not opened (7z, RAR, Zstandard, cpio, the ISO image of a"
        " CD), or any if DICOM_ARCHIVE_MEMBERS is 0. Unpack it into a folder beside it, and import that.",
        "nested_archive": "An archive in an archive, which is not opened. Unpack the outer one into a folder beside it,"
        " and import that.",
        "link_in_archive": "A link in an archive. What it leads to is imported in its own place.",
        "archive": "An archive that an earlier version of the import did not open. The next import opens it.",
        "archive_cut": "The archive ends too early: it was not copied whole. What could be read of it is imported.",
        "archive_damaged": "The archive is damaged. What could be read of it is imported.",
        "archive_multivolume": "Part of an archive in several files. Unpack them together into a folder beside them,"
        " and import that.",
        "archive_too_many_members": "The archive has more files than DICOM_ARCHIVE_MEMBERS allows. Nothing of it is"
        " imported: unpack it and look at it, or raise the limit.",
        "archive_too_large": "Unpacked, the archive has more bytes than DICOM_ARCHIVE_GIGABYTES allows. Nothing of it"
        " is imported: unpack it and look at it, or raise the limit.",
        "archive_ratio": "Unpacked, the archive is larger than DICOM_ARCHIVE_RATIO times its own size. Nothing of it is"
        " imported: unpack it and look at it, or raise the limit.",
        "member_encrypted": "A file in an archive that needs a password. Unpack it with the password, and import that.",
        "member_method": "A file in an archive, packed by a method that the import does not know. Unpack it with the"
        " program that made it, and import that.",
        "member_damaged": "A file in an archive whose size or checksum is not what the archive says.",
        "member_cut": "The archive ends in the middle of this file.",
        "member_failed": "A file in the archive could not be imported this time; the archive is opened again for it.",
        "no_room_to_unpack": "There is no room in STATE_DIR to unpack the archive or the file in it.",
    }
)
_OF_ARCHIVES_SKIPPED = frozenset(
    {"archive_opened", "archive_without_dicom", "archive_not_opened", "nested_archive", "link_in_archive", "archive"}
)
_OF_ARCHIVES_FAILED = frozenset({"member_failed", "no_room_to_unpack"})
# Bad: intended as DICOM, but cannot be imported as it is.
BAD: Mapping[str, str] = MappingProxyType(
    {
        "garbage": "It begins like DICOM, but the rest is not DICOM.",
        "magic_elsewhere": "DICM is missing, or is not at byte 128. The file can be repaired: exactly 128 bytes and"
        " DICM must come before the file meta information.",
        "cut_in_meta": "It ends inside the file meta information, or the file meta information has a wrong length.",
        "cut_in_data_set": "It ends inside the data set.",
        "cut_in_pixel_data": "It ends inside the pixel data.",
        "deflate_broken": "The deflated data set cannot be inflated.",
        "no_study_uid": "It has no Study Instance UID.",
        "no_series_uid": "It has no Series Instance UID.",
        "no_instance_uid": "It has no SOP Instance UID.",
        "uid_too_long": "A UID is longer than Orthanc accepts.",
        "patient_id_too_long": "The Patient ID is longer than Orthanc accepts.",
        "damaged_copy": "It is damaged, and Orthanc has this instance from another file. It was not sent, because"
        " Orthanc overwrites, or does not report whether it does. Both hashes are in the row.",
    }
)
# Unreadable: the content is unknown, and the file is tried again.
UNREADABLE: Mapping[str, str] = MappingProxyType(
    {
        "permission": "This user may not read it.",
        "vanished": "It was there when its directory was listed, and is no longer there.",
        "changed": "It changed while it was read.",
        "not_mounted": "The root was unmounted or replaced during the scan.",
        "root_empty": "The root has no entry at all; perhaps the share is not mounted.",
        "not_understood": "An unexpected error occurred when it was inspected; the log has its class. Please"
        " report it.",
        "input_output": "The disk or the share gave an error.",
        "root_missing": "The root is not there or cannot be read; perhaps the share is not mounted.",
    }
)
# Suspect: valid, but not sent.
SUSPECT: Mapping[str, str] = MappingProxyType(
    {
        "nested_too_deep": "Its sequences are nested deeper than the limit of 45.",
        "kills_orthanc": "Orthanc stopped answering both times when this file was sent, the second time while no other"
        " file was being sent.",
        "killed_orthanc_before": "An earlier job found that Orthanc stops answering when this file is sent. It was not"
        " sent again.",
    }
)
# Bad, because Orthanc refused the file; the last one is skipped.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "orthanc_bad_file_format": "Orthanc cannot read it as DICOM.",
        "orthanc_missing_tag": "An identifier that Orthanc needs is missing in it.",
        "orthanc_out_of_range": "Orthanc finds an impossible value in it.",
        "orthanc_bad_type": "Orthanc finds a value of the wrong type or length in it.",
        "orthanc_not_supported": "Orthanc cannot handle what is in it.",
        "taken_for_archive": "Orthanc took it for a ZIP archive, because it begins like one.",
        "orthanc_refused": "Orthanc refused it without saying why.",
        "filtered_by_orthanc": "A filter in Orthanc's own configuration (ReceivedInstanceFilter) rejected it. If the"
        " filter is changed, an initial or manual import sends it; an incremental one does not.",
    }
)
# Duplicate and conflict: nothing is lost, Orthanc has the instance.
REPEATED: Mapping[str, str] = MappingProxyType(
    {
        "same_content": "The same bytes as another file that Orthanc has.",
        "other_content": "Orthanc has this instance with other bytes, and keeps those; both hashes are in the row.",
        "other_transfer_syntax": "Orthanc has this instance in another transfer syntax, and keeps that: from another"
        " file, or converted by Orthanc itself (IngestTranscoding). Both hashes are in the row.",
    }
)
# Skipped, because somebody has decided so.
WITHHELD: Mapping[str, str] = MappingProxyType(
    {
        "taken_back": "An import of it was taken back, or its patient was erased. An incremental import, such as that"
        " of a watched directory, does not send it again; an initial or manual one does.",
    }
)
_FILTERED = "filtered_by_orthanc"
# Skipped, although Orthanc does not have it and it is of a patient.
NOT_STORED: Mapping[str, str] = MappingProxyType({**WITHHELD, _FILTERED: REFUSED[_FILTERED]})
# Failed on the way to Orthanc: tried again when the job is resumed, and by the next job.
UNSENT: Mapping[str, str] = MappingProxyType(
    {
        "no_answer": "Orthanc stopped answering when this file was sent, and did not come back during the job.",
        "orthanc_timeout": "Orthanc did not answer in time, three times.",
        "orthanc_error": "Orthanc had an error of its own, three times.",
        "orthanc_out_of_memory": "Orthanc did not have enough memory for it, three times.",
        "id_uncertain": "Orthanc's id of it cannot be computed for certain, and Orthanc overwrites, or does not report"
        " whether it does. It was not sent, because it could replace another file. Set OverwriteInstances to false in"
        " Orthanc's configuration; for an Orthanc older than 1.11, confirm this with ORTHANC_NEVER_OVERWRITES=true.",
        "stored_by_another": "Orthanc said three times that another client was sending the same instance.",
    }
)
# Failed, because a setting keeps the file out: sent once, tried again when the job is resumed. A job with such files
# stops at its end for the same reason.
TOO_LARGE = ("too_large_for_proxy", "too_large_for_orthanc")
NOT_TAKEN: Mapping[str, str] = MappingProxyType(
    {
        "too_large_for_proxy": "It is larger than what a proxy in front of Orthanc, or Orthanc's web server, lets"
        " through (HTTP 413).",
        "too_large_for_orthanc": "It is larger than all of Orthanc's storage (MaximumStorageSize).",
        "orthanc_filter_error": "A Lua script of Orthanc's configuration failed on it.",
        "proxy_refused": "A proxy in front of Orthanc refused it.",
    }
)
NOT_TAKEN_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "too_large_for_proxy": "Raise the proxy's limit (nginx: client_max_body_size 0; Apache: LimitRequestBody 0;"
        " IIS: maxAllowedContentLength), or let ORTHANC_URL lead to Orthanc itself.",
        "too_large_for_orthanc": "Raise MaximumStorageSize in Orthanc's configuration.",
        "orthanc_filter_error": "Mend the script in Orthanc's LuaScripts; Orthanc's log has its error.",
        "proxy_refused": "Look into the proxy's log for the reason, or let ORTHANC_URL lead to Orthanc itself.",
    }
)
# The reason of a job whose instances Orthanc has lost. Their rows are marked as missing.
MISSING = "missing_in_orthanc"
# Flags of rows: what a person should look at although the file has its outcome.
FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "missing_patient_id": "The Patient ID is missing. Orthanc puts all such files under one patient.",
        "patient_id_with_another_name": "The Patient ID belongs to another name or birth date in an earlier file or in"
        " Orthanc. Orthanc shows both under one patient.",
        "instance_uid_elsewhere": "Orthanc has an instance with this SOP Instance UID in another patient, study or"
        " series.",
        "holds_another_instance": "Behind its instance the file holds another one, perhaps of another patient, which is"
        " not imported: several files were joined. Split it into them, and import these.",
        "sent_again": "Orthanc had this instance, lost it, and has got it again.",
        "erased_before": "It belongs to a patient who was erased from the history. If it must not be here, delete it in"
        " Orthanc and in the directory, and erase the patient again.",
    }
)
# Why a whole job has stopped.
STOPPED: Mapping[str, str] = MappingProxyType(
    {
        "root_unavailable": "The directory cannot be listed, or was unmounted or replaced during the job.",
        "no_files": "There was no file at all in the directory; perhaps the share is not mounted.",
        "orthanc_unreachable": "Orthanc was away for longer than the job waits.",
        "orthanc_login_refused": "Orthanc refuses the login or the access.",
        "orthanc_storage_full": "Orthanc's storage is full.",
        "orthanc_wrong_address": "What answers at ORTHANC_URL is not Orthanc.",
        "orthanc_tls": "The certificate at ORTHANC_URL is not trusted, or http and https are mixed up.",
        "orthanc_redirects": "What answers at ORTHANC_URL redirects to another address.",
        "orthanc_right_missing": "The account lacks a right in Orthanc that an import needs.",
        "orthanc_read_only": "Orthanc is read-only.",
        "orthanc_patient_limit": "Orthanc has as many patients as it may have (MaximumPatientCount).",
        "orthanc_answer_unusable": "Orthanc's response reports success, but not what was stored.",
        "orthanc_other_id": "Orthanc gave an instance an id that does not follow from its identifiers.",
        "orthanc_keeps_failing": "One file after the other could not be stored, for reasons unrelated to these files.",
        MISSING: "Orthanc accepted instances and no longer has them.",
        "interrupted": "The job's process was terminated.",
        "error": "Something else went wrong; error_message says what.",
    }
)

_TABLES_OF_FILES = (SKIPPED, ARCHIVES, BAD, UNREADABLE, SUSPECT, REFUSED, REPEATED, WITHHELD, UNSENT, NOT_TAKEN)
# All reasons of rows of history.
OF_FILES = tuple(sorted(set[str]().union(*_TABLES_OF_FILES)))

# The reason of an archive that will be opened (`files.archives`). No new row has it.
ARCHIVE = "archive"

HOLDS_ANOTHER = "holds_another_instance"  # a flag
# The reason of a running job that waits.
WAITING_FOR_ORTHANC = "waiting_for_orthanc"
WAITING: Mapping[str, str] = MappingProxyType(
    {WAITING_FOR_ORTHANC: "Orthanc does not answer. The job waits for it, and continues by itself when it is back."}
)


def of_archive(reason: str) -> Outcome:
    """Return the outcome of an archive, or of a member that is not read, for a reason."""
    if reason in SKIPPED or reason in _OF_ARCHIVES_SKIPPED:
        return Outcome.SKIPPED
    return Outcome.FAILED if reason in _OF_ARCHIVES_FAILED else Outcome.BAD


def sentence(reason: str) -> str:
    """Return the sentence for a reason; for an unknown id, the id itself."""
    for table in (*_TABLES_OF_FILES, STOPPED, WAITING):
        if reason in table:
            return table[reason]
    return reason
