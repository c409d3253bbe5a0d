"""Valid pictures with random metadata: the long run of `test_metadata`.

Each example has a seed of its own, the first one's plus its number, so a run can be continued with `--seed`.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from random import Random

import click

from fm_pipeline.images.pictures.inspect import RejectedPicture, inspect_with_thumbnail
from fm_pipeline_tests.images.pictures.samples import ANY, SMALL


@click.command()
@click.option("--count", default=1_000, show_default=True, help="Pictures.")
@click.option("--seed", default=1, show_default=True, help="Of the first picture; each next one has one more.")
def main(count: int, seed: int) -> None:
    """Look into many pictures; exit code 1 if one of them is not what it is without its metadata."""
    warnings.simplefilter("ignore")  # the library's words on what it passes over
    kinds, wrong = list(ANY), Counter[str]()
    with click.progressbar(range(seed, seed + count), label="Pictures", file=sys.stderr) as seeds:
        for each in seeds:
            kind = kinds[each % len(kinds)]
            looked = inspect_with_thumbnail(ANY[kind](Random(each)))  # noqa: S311  # any numbers do
            if isinstance(looked, RejectedPicture) or {looked[0].width, looked[0].height} != set(SMALL):
                said = looked.reason if isinstance(looked, RejectedPicture) else "another size"
                wrong[f"{kind}: {said}"] += 1
                click.echo(f"seed {each}, {kind}: {said}")
    click.echo(f"{count - wrong.total():,} of {count:,} pictures are what they are without their metadata.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
