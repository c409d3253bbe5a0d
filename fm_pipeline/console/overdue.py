"""What is overdue, in sentences, for the top of every page: asked at most every half minute, whoever asks."""

from __future__ import annotations

import time
from threading import Lock

from django.utils import timezone

from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.errors import PipelineError
from fm_pipeline.status.expected import read_expectations

HOLDS_SECONDS = 30.0


class OverdueSentences:
    """The sentences of this process."""

    def __init__(self) -> None:
        self._lock, self._until = Lock(), 0.0
        self._sentences: list[str] = []

    def read(self) -> list[str]:
        """Return them; none if the database does not answer, which the page itself says."""
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    now = timezone.now()
                    missed = [each for each in read_expectations(PIPELINE) if each.is_overdue(now)]
                    self._sentences = [each.sentence(PIPELINE.clinic_time_zone) for each in missed]
                except PipelineError:
                    self._sentences = []
                self._until = time.monotonic() + HOLDS_SECONDS
            return self._sentences


overdue = OverdueSentences()
