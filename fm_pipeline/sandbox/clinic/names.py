"""Synthetic names, addresses, numbers and sentences.

Telephone numbers are those that the regulator keeps free for films (ACMA, "Phone numbers for use in TV shows, films
and creative works"), email addresses are under example.com (RFC 2606), Medicare numbers have a wrong check digit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from faker import Faker

POOL = 240
MOBILES = ("0491570006", "0491570156", "0491570157", "0491570158", "0491570159", "0491570110")
AREA_CODES = ("02", "03", "07", "08")
FILM_EXCHANGES = ("5550", "7010")
MEDICARE_WEIGHTS = (1, 3, 7, 9, 1, 3, 7, 9)

_FINDINGS = (
    "Reviewed left AFO, good fit over the calcaneus",
    "Pt reports rubbing at the 1st met head",
    "Plaster cast taken, L & R",
    "Heel raise 6 mm added – to review in 2/52",
    "Skin intact; no redness after 20 min wear",
    "Scan of both feet, 3D file sent to the workshop",
    'Mum says he "won\'t wear the blue ones"',
    "Phoned the GP's rooms re referral",
    "Strap replaced, padding 3 mm PPT added",
    "Gait: toe walking R > L, ROM 5° dorsiflexion",
    "Quote sent to the plan manager; awaiting approval",
    "Footwear: 000 width, order size 8½",
)
_PLANS = (
    "Review in 6 weeks.",
    "Phone after school hours only.",
    "Continue wear as tolerated.",
    "Discharged to the GP.",
    "Book a fitting when the device is back.",
    "Nil further action today.",
)


@dataclass(frozen=True)
class Pools:
    """Pools of texts. Faker is slow, so it is called a few hundred times and not for each record."""

    female: tuple[str, ...]
    male: tuple[str, ...]
    surnames: tuple[str, ...]
    streets: tuple[str, ...]
    suburbs: tuple[str, ...]
    companies: tuple[str, ...]


def make_pools(seed: int) -> Pools:
    """Make the pools from Faker's Australian names."""
    faker = Faker("en_AU")
    faker.seed_instance(seed)
    return Pools(
        female=tuple(faker.first_name_female() for _ in range(POOL)),
        male=tuple(faker.first_name_male() for _ in range(POOL)),
        surnames=tuple(faker.last_name() for _ in range(2 * POOL)),
        streets=tuple(faker.street_address() for _ in range(2 * POOL)),
        suburbs=tuple(faker.city() for _ in range(POOL)),
        companies=tuple(faker.company() for _ in range(40)),
    )


def mobile(rng: random.Random) -> str:
    """Return a mobile number that is reserved for films, in one of the usual spellings."""
    digits = rng.choice(MOBILES)
    return rng.choice((digits, f"{digits[:4]} {digits[4:7]} {digits[7:]}", f"+61 {digits[1:4]} {digits[4:]}"))


def landline(rng: random.Random) -> str:
    """Return a landline number that is reserved for films."""
    area, exchange, line = rng.choice(AREA_CODES), rng.choice(FILM_EXCHANGES), f"{rng.randrange(10_000):04d}"
    return rng.choice((f"({area}) {exchange} {line}", f"{area}{exchange}{line}", f"{area} {exchange} {line}"))


def email(rng: random.Random, first: str, last: str) -> str:
    """Return an email address that cannot exist."""
    letters = "".join(c for c in f"{first}.{last}" if c.isascii() and (c.isalnum() or c == ".")).lower()
    domain = rng.choice(("example.com", "example.org", "example.net"))
    return f"{letters.strip('.') or 'patient'}{rng.randrange(100)}@{domain}"


def health_number(rng: random.Random) -> str:
    """Return ten digits like a Medicare number with a wrong check digit (the ninth), so that it belongs to nobody."""
    digits = [rng.choice((0, 2, 3, 4, 5, 6))] + [rng.randrange(10) for _ in range(7)]
    check = sum(d * w for d, w in zip(digits, MEDICARE_WEIGHTS, strict=True)) % 10
    digits += [(check + rng.randint(1, 9)) % 10, 1]
    text = "".join(map(str, digits))
    return rng.choice((text, f"{text[:4]} {text[4:9]} {text[9]}"))


def clinical_text(rng: random.Random) -> str:
    """Return one to five lines like those of a clinician, separated by LF."""
    lines = [f"{rng.choice(_FINDINGS)}. {rng.choice(_PLANS)}" for _ in range(rng.choice((1, 1, 2, 3, 5)))]
    return "\n".join(lines)
