"""Many random settings: `python -m fm_pipeline_tests.random_settings --count 5000 --seed 1`; exit code 0 if all held.

The searches are those of the suite, over lines of a `.env` and over NEXUS_DATABASE_URL. Each seed is a run of its own:
a long search is several short ones, and what was broken off begins again at its seed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, seed, settings

from fm_pipeline_tests import test_settings as env
from fm_pipeline_tests.db import test_url as url
from fm_pipeline_tests.support.searching import count_and_seed, say


def main() -> int:
    """All searches."""
    given = count_and_seed("random-settings", __doc__, count=5000, of="examples of each search").parse_args()
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        searches: list[tuple[Callable[..., Any], dict[str, Any]]] = [
            (env.test_a_line_that_was_written_for_a_value_is_read_as_that_value_or_refused, {}),
            (env.test_what_is_taken_is_what_a_shell_reads_or_what_is_written, {"env_folder": Path(folder)}),
            (url.test_an_encoded_url_is_read_as_it_was_meant, {}),
            (url.test_a_url_that_was_not_encoded_is_read_as_it_was_meant_or_refused, {}),
        ]
        many = partial(settings, max_examples=given.count, deadline=None, database=None)
        for search, arguments in searches:
            begun = time.monotonic()
            try:
                seed(given.seed)(many(suppress_health_check=list(HealthCheck))(search))(**arguments)
                found = "held"
            except Exception as error:  # noqa: BLE001  # told, and the others go on
                broken += 1
                found = f"BROKEN: {error}"
            name = search.__name__.removeprefix("test_").replace("_", " ")
            say(f"{name}: {given.count} examples, {found}; {time.monotonic() - begun:.0f} s")
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
