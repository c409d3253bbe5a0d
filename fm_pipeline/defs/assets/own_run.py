"""Assets that write without a plan run only in a run of their own.

Dagster's "Materialize all" selects every asset of the graph. A reimport is protected from that by its plan; the image
link, the import of image files and the import of DICOM files have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg

from fm_pipeline.defs.dagster_internals import BACKFILL_ID_TAG, PARENT_BACKFILL_ID_TAG
from fm_pipeline.errors import Stop
from fm_pipeline.pluralize import counted

SHOWN = 3  # of the other assets


class System(NamedTuple):
    """Assets that belong together.

    Attributes:
        name: as a subject, for sentences.
        job: that runs all of them.
        group: of the assets in the graph.
        assets: their keys.
    """

    name: str
    job: str
    group: str
    assets: frozenset[dg.AssetKey]

    def refuse_wider_selection(self, context: dg.AssetExecutionContext) -> None:
        """Refuse to work in a run that selects assets of another system. Called before anything is read or written.

        Raises:
            Stop: names the job that does this work alone.
        """
        others = {key.to_user_string() for selected in _selections(context) for key in selected - self.assets}
        if not others:
            return
        shown = ", ".join(sorted(others)[:SHOWN]) + (", …" if len(others) > SHOWN else "")
        raise Stop(
            f"{self.name} was not started, because this run was launched for {counted(len(others), 'other asset')} too:"
            f" {shown}.",
            meaning="It needs no plan and no confirmation, so it runs only when it alone was selected."
            " Nothing of it was read or written.",
            remedy=f"Launch the job {self.job}, or materialize assets of the group {self.group} and no others.",
        )


def _selections(context: dg.AssetExecutionContext) -> Iterator[frozenset[dg.AssetKey]]:
    """What was selected for this run, for the runs that it repeats, and for the backfill that it is a part of.

    Somebody who repeats a refused run "from failure" has chosen no more than before, whatever is left to do.
    """
    yield frozenset(context.job_def.asset_layer.selected_asset_keys)
    run: dg.DagsterRun | None = context.run
    while run is not None:
        yield frozenset(run.asset_selection or ())
        backfill_id = run.tags.get(BACKFILL_ID_TAG)
        while backfill_id and (backfill := context.instance.get_backfill(backfill_id)) is not None:
            yield frozenset(backfill.asset_selection or ())
            backfill_id = backfill.tags.get(PARENT_BACKFILL_ID_TAG)
        run = context.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
