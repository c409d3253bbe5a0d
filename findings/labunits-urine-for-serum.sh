#!/bin/sh
# labunits converts a serum creatinine as one of urine if it is given by name: 1.2 mg/dL are 10.6 and not 106.
#
# The package (0.2.1) converts laboratory results to SI units; an analyte is a "LOINC code (preferred), abbreviation, or full name". Seven
# names stand for two LOINC codes each, and the name always means the later one in its table. For four of them the units differ:
# "Creatinine" is that of a day's urine, and "Magnesium" that in mEq/L, so that a serum magnesium of 2 mg/dL comes out as 1 mmol/L and
# not 0.82. Nothing refuses a name that has two meanings, or says which was taken. With the LOINC code two analytes are wrong by a
# factor of 1000: norepinephrine in plasma (its pg/mL become as many pmol/L as the table gives nmol/L; epinephrine is right), and
# acetylcholinesterase (1 U/mL is 1000 U/L). The way back has the same factors, so that there and back proves nothing. The README asks
# to verify the factors, and says nothing of the names.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check labunits==0.2.1 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

"$folder/venv/bin/python" - <<'END'
import sys
from importlib.metadata import version
from math import isclose
from labunits import converters

SERUM = {  # the LOINC code of the serum or plasma, a result in the traditional unit, its name
    "2160-0": (1.2, "Creatinine"),
    "19123-9": (2.0, "Magnesium"),
}
print("labunits", version("labunits"))
shared = {}
for analyte in converters.analytes():
    shared.setdefault(analyte.name.lower(), []).append(analyte)
shared = {name: both for name, both in shared.items() if len(both) > 1}
for name, both in sorted(shared.items()):
    taken = converters.si_unit(name)
    print(f"{name}:", "; ".join(f"{one.loinc_num} {one.specimen[0]} {one.traditional_unit} to {one.si_unit}" for one in both), "->", taken)

found = {}
for loinc, (value, name) in SERUM.items():
    unit = converters.traditional_unit(loinc)
    by_code, by_name = converters.to_si_unit(value, loinc), converters.to_si_unit(value, name)
    found[name] = by_code / by_name
    print(f"{name} of {value} {unit}: by LOINC code {by_code:.4g} {converters.si_unit(loinc)}, by name {by_name:.4g} {converters.si_unit(name)}")

GRAM_PER_MOL = {"2666-6": 169.18, "1465-4": 183.20}  # norepinephrine, epinephrine
for loinc, mass in GRAM_PER_MOL.items():
    value = converters.to_si_unit(300, loinc)
    unit = converters.si_unit(loinc)
    true = 300 / mass / {"pmol/L": 0.001, "nmol/L": 1}[unit]  # 300 pg/mL are 300 ng/L
    found[loinc] = value / true
    print(f"{loinc}: 300 {converters.traditional_unit(loinc)} are {value:.4g} {unit}, by the molar mass {true:.4g} {unit}")
found["2099-0"] = converters.to_si_unit(1, "2099-0") / 1000
print("2099-0: 1", converters.traditional_unit("2099-0"), "is", converters.to_si_unit(1, "2099-0"), converters.si_unit("2099-0"))
EXPECTED = {"Creatinine": 10, "Magnesium": 0.8228, "2666-6": 1000, "1465-4": 1, "2099-0": 0.001}
sys.exit(len(shared) != 7 or not all(isclose(found[name], times, rel_tol=0.01) for name, times in EXPECTED.items()))
END
