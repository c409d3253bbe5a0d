"""An index of the patients of Nexus by every id that may refer to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.crosswalk import PATIENT_KEYS, is_hidden, shown_and_older_first
from fm_pipeline.staging.values.keys import as_key

# Why there is no patient.
NO_REFERENCE = "no_patient"
UNKNOWN = "patient_unknown"
AMBIGUOUS = "patient_ambiguous"

MatchedBy = Literal["crosswalk", "metadata", "notes", "nexus_id", "earlier_id"]


class PatientMatch(NamedTuple):
    """The patient of Nexus that a reference names.

    Attributes:
        nexus_id: the patient's id as it is now.
        key: FileMaker's id in lower case, which stays over reimports; the Nexus id of a patient that has none.
        matched_by: by what it was found.
    """

    nexus_id: str
    key: str
    matched_by: MatchedBy


@dataclass(frozen=True)
class PatientIndex:
    """All patients of Nexus by every id that may refer to them. Ids are in lower case."""

    by_key: Mapping[str, tuple[str, MatchedBy]]
    key_of: Mapping[str, str]  # Nexus id -> FileMaker id, or the Nexus id itself
    earlier: Mapping[str, str]  # Nexus id of an earlier reimport -> FileMaker id

    def resolve(self, reference: object) -> PatientMatch | str:
        """Return the patient, or the reason why there is none: NO_REFERENCE, UNKNOWN or AMBIGUOUS.

        Looked up in this order: the crosswalk, FileMaker's id in the metadata and in the notes, a Nexus id, the Nexus
        id of an earlier reimport. A reference is ambiguous if two of these name different patients.
        """
        wanted = as_key(reference)
        if not wanted:
            return NO_REFERENCE
        found: list[PatientMatch] = []
        if known := self.by_key.get(wanted):
            found.append(PatientMatch(known[0], self.key_of[known[0]], known[1]))
        if wanted in self.key_of:
            found.append(PatientMatch(wanted, self.key_of[wanted], "nexus_id"))
        if (key := self.earlier.get(wanted)) and (known := self.by_key.get(key)):
            found.append(PatientMatch(known[0], self.key_of[known[0]], "earlier_id"))
        if not found:
            return UNKNOWN
        return found[0] if len({each.nexus_id for each in found}) == 1 else AMBIGUOUS


def read_patient_index(cursor: Cursor, catalogue: Catalogue) -> PatientIndex:
    """Read them; of two, the same one as in a reimport.

    The crosswalk wins where its patient still exists, unless users do not see this one and see another one.
    """
    patients = catalogue.table("patients").identifier
    cursor.execute(
        sql.SQL("SELECT p.id::text, {} FROM {} p").format(is_hidden(catalogue, sql.Identifier("p", "id")), patients)
    )
    hidden = dict(cursor.fetchall())
    key_of = {nexus_id: nexus_id for nexus_id in hidden}
    by_key: dict[str, tuple[str, MatchedBy]] = {}
    earlier: dict[str, str] = {}
    cursor.execute("SELECT filemaker_key, nexus_id::text FROM fm_pipeline.crosswalk WHERE entity = 'patient'")
    mapped = cursor.fetchall()
    for key, nexus_id in mapped:
        if nexus_id in key_of:
            by_key[key] = (nexus_id, "crosswalk")
            key_of[nexus_id] = key
        else:
            earlier[nexus_id] = key
    cursor.execute(
        sql.SQL("SELECT key, id::text, origin FROM ({}) k WHERE key <> '' ORDER BY {}").format(
            sql.SQL(PATIENT_KEYS).format(patients=patients), shown_and_older_first(catalogue, "k")
        )
    )
    taken = {nexus_id for _, nexus_id in mapped}
    for key, nexus_id, origin in cursor.fetchall():
        known, _ = by_key.setdefault(key, (nexus_id, origin))
        if hidden[known] and not hidden[nexus_id] and nexus_id not in taken:
            by_key[key] = (nexus_id, origin)
        if key_of[nexus_id] == nexus_id:
            key_of[nexus_id] = key
    cursor.execute("SELECT nexus_id::text, filemaker_key FROM fm_pipeline.retired_patient_ids")
    return PatientIndex(by_key, key_of, earlier | dict(cursor.fetchall()))
