"""Hard case 25, three rounds of it; `scripts/kills-link` makes thirty."""

from __future__ import annotations

import random

import pytest

from fm_pipeline_tests.images.linking.kills import Kills, kill_rounds
from fm_pipeline_tests.images.scene import Scene
from fm_pipeline_tests.support.proxies.s3_proxy import s3_proxy


@pytest.mark.hard_case(25)
def test_a_link_killed_at_any_moment_is_continued_and_only_the_rest_is_copied(scene: Scene) -> None:
    with s3_proxy(str(scene.bench.settings.s3_endpoint_url)) as proxy:
        ledger = kill_rounds(Kills(scene, proxy), 3, random.Random(1), lambda _: None)  # noqa: S311
    assert ledger.killed + ledger.ended_before == 3
