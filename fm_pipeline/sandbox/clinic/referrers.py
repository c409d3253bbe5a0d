"""Companies that pay, referrers who send patients, and which patient comes from whom; only profile `wep` has them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fm_pipeline.sandbox.clinic.model import (
    EARLIER_IMPORT,
    Company,
    Patient,
    PatientReferrer,
    Referrer,
    new_uuid,
    refer,
    sydney,
)
from fm_pipeline.sandbox.clinic.names import Pools, landline
from fm_pipeline.sandbox.clinic.nexus.state import State

COMPANIES, KNOWN_COMPANIES = 14, 10  # Nexus has two more, which FileMaker does not know and which stay
REFERRERS, KNOWN_REFERRERS = 24, 9


def make_companies(rng: random.Random, pools: Pools, state: State) -> list[Company]:
    """Companies; Nexus has the first ones by their names, some with an older address."""
    known = [(row["name"], row["id"]) for row in map(state["companies"].values, state["companies"].rows.values())]
    names = [*known[:KNOWN_COMPANIES], *((name, None) for name in pools.companies[len(known) :])]
    companies = []
    for number, (name, nexus_id) in enumerate(names[:COMPANIES]):
        key = str(new_uuid(rng))
        abn = f"{rng.randrange(10**10):011d}" if number % 3 else None
        email = "accounts@example.com" if number % 2 else f"office{number}@example.org"
        companies.append(Company(key, key.upper(), name, abn, email, nexus_id))
    return companies


def make_referrers(rng: random.Random, pools: Pools, companies: Sequence[Company], state: State) -> list[Referrer]:
    """Referrers; Nexus has the first ones, without their practice."""
    times = {"created_at": EARLIER_IMPORT, "updated_at": EARLIER_IMPORT}
    referrers = []
    for number in range(REFERRERS):
        key, name = str(new_uuid(rng)), f"Dr {rng.choice(pools.female)} {pools.surnames[number]}"
        referrer = Referrer(
            key,
            key.upper(),
            name,
            practice=f"{rng.choice(pools.suburbs)} Family Practice",
            provider_number=f"{rng.randrange(10**6):06d}{number % 10}A",
            phone=landline(rng),
            email=None,
            company=companies[number % len(companies)] if number % 4 == 0 else None,
        )
        if number < KNOWN_REFERRERS:
            referrer.nexus_id = new_uuid(rng)
            state["referrers"].add(
                id=referrer.nexus_id, name=name, provider_number=referrer.provider_number, phone="", email="", **times
            )
        referrers.append(referrer)
    return referrers


def make_patient_referrers(
    rng: random.Random, patients: Sequence[Patient], referrers: Sequence[Referrer]
) -> list[PatientReferrer]:
    """Every third patient has a referrer, every ninth two."""
    links = []
    for number, patient in enumerate(patients):
        for referrer in rng.sample(referrers, 2 if number % 9 == 0 else 1) if number % 3 == 0 else ():
            key = str(new_uuid(rng))
            created_at = sydney(patient.created_at.date(), rng.randrange(9, 17), rng.randrange(60))
            links.append(
                PatientReferrer(
                    key, key.upper(), patient, refer(rng, patient.key), referrer, refer(rng, referrer.key), created_at
                )
            )
    return links
