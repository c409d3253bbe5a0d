"""The small clinic that most tests look at."""

from __future__ import annotations

import pytest

from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic


@pytest.fixture(scope="package")
def clinic() -> Clinic:
    """A twentieth of the real clinic. Nobody changes it."""
    return generate_clinic(scale=0.05)
