"""Contact details of the patients: several telephones with one label, relatives, more than one address."""

from __future__ import annotations

import random
from collections import Counter

from fm_pipeline.sandbox.clinic.model import ClinicContactDetail, Patient, new_uuid, refer, spell_id
from fm_pipeline.sandbox.clinic.names import Pools, email, landline, mobile

LABELS = ("home", "work", "mum", "dad (evenings)", "o'brien (son)", "carer", "school", "")
STATES = (("NSW", "2"), ("VIC", "3"), ("QLD", "4"), ("SA", "5"), ("WA", "6"), ("TAS", "7"), ("NT", "08"))

# Details of the first patients, in the order of their record ids: kind, name in FileMaker, label in Nexus, default.
_SCRIPTS: tuple[tuple[tuple[str, str, str, bool], ...], ...] = (
    (
        ("phone", "Home", "home", False), ("phone", "HOME", "home 2", True), ("phone", "home ", "home 3", False),
        ("phone", "", "phone", False), ("phone", "Phone", "phone 2", False), ("mobile", "Home", "home", True),
    ),
    (("phone", "Home 2", "home 2", False), ("phone", "Home", "home", False), ("phone", "Home", "home 3", False)),
    (("address", "Home", "home", False), ("address", "Postal", "postal", True), ("address", "", "address", False)),
    (("address", "Work", "work", False), ("address", "Work", "work", False)),
    (("email", "Mum\u00a0& Dad", "mum\u00a0& dad", True), ("email", " Work\r", "work", False)),
)  # fmt: skip


def make_contact_details(
    rng: random.Random, pools: Pools, patients: list[Patient], count: int
) -> list[ClinicContactDetail]:
    """Make contact details in the order of their record ids; those of a patient are scattered among the others.

    The last patients have none.
    """
    scripts = {p.key: iter(script) for p, script in zip(patients, _SCRIPTS, strict=False)}
    owners = [p for p, script in zip(patients, _SCRIPTS, strict=False) for _ in script]
    reachable = patients[len(_SCRIPTS) : len(patients) - max(2, len(patients) // 40)]
    owners += rng.choices(reachable, k=count - len(owners))
    rng.shuffle(owners)
    taken: Counter[tuple[str, str, str]] = Counter()
    defaults: set[tuple[str, str]] = set()
    details = []
    for owner in owners:
        if owner.key in scripts:
            kind, name, label, is_default = next(scripts[owner.key])
        else:
            kind = rng.choices(("phone", "mobile", "email", "address"), (24, 30, 20, 26))[0]
            name = rng.choice(LABELS)
            label = name or kind
            if kind != "address":
                taken[owner.key, kind, label] += 1
                label += f" {n}" if (n := taken[owner.key, kind, label]) > 1 else ""
            is_default = (owner.key, kind) not in defaults and rng.random() < 0.6
            if is_default:
                defaults.add((owner.key, kind))
            name = rng.choice((name, name.title(), name.upper(), f" {name} "))
        details.append(_detail(rng, pools, owner, kind, name, label, is_default))
    return details


def _detail(
    rng: random.Random, pools: Pools, owner: Patient, kind: str, name: str, label: str, is_default: bool
) -> ClinicContactDetail:
    detail = ClinicContactDetail(
        filemaker_id=spell_id(rng, str(new_uuid(rng))),
        patient=owner,
        patient_ref=refer(rng, owner.key),
        kind=kind,
        label=label,
        is_default=is_default,
        spelled={"type": rng.choice((kind.title(), kind.title(), kind.upper(), kind)), "name": name},
    )
    if kind == "address":
        state, prefix = rng.choice(STATES)
        detail.address = {
            "street": rng.choice(pools.streets),
            "street2": rng.choice(("", "", "", "Unit 3", "C/- Reception")),
            "suburb": rng.choice(pools.suburbs),
            "state": rng.choice((state, state, "")),
            "postcode": prefix + "".join(str(rng.randrange(10)) for _ in range(4 - len(prefix))),
        }
    elif kind == "email":
        detail.value = email(rng, owner.first_name, owner.last_name)
    else:
        detail.value = mobile(rng) if kind == "mobile" else landline(rng)
    return detail
