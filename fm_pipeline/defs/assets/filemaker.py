"""Phase 0, first half: FileMaker's records as they are, in `fm_pipeline.source_records`. Reads only."""

from functools import partial

import dagster as dg

from fm_pipeline.defs.assets.metadata import row_count
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import EXTRACT, OWNERS, PLURALS, POOL
from fm_pipeline.defs.resources import FileMakerSource, NexusTarget
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.sequence.read_and_stage import read_entity

DIGEST = 16  # characters of it: enough to see that two readings differ; all 64 make the page too wide


def _extraction(entity: str) -> dg.AssetsDefinition:
    plural = PLURALS[entity]

    @dg.asset(
        name=f"filemaker_{plural}",
        group_name=EXTRACT,
        deps=["preflight"],
        description=f"All records of the layout that the profile names for {plural.replace('_', ' ')}, read to the"
        " last one and proved complete by FileMaker's count and the distinct record ids.",
        kinds={"filemaker", "postgres"},
        owners=OWNERS,
        pool=POOL,
    )
    def extraction(
        context: dg.AssetExecutionContext, filemaker: FileMakerSource, nexus: NexusTarget
    ) -> dg.MaterializeResult[None]:
        with (
            explained(),
            nexus.connect() as connection,
            run_progress(nexus.settings, context.run.run_id, log=context.log.info) as progress,
        ):
            result = read_entity(
                lambda: filemaker.door,
                connection,
                filemaker.profile,
                entity,
                nexus.settings,
                run_id=context.run.run_id,
                after_plan=context.run.job_name == "full_reimport",
                on_step=partial(progress.update, f"read {plural}"),
            )
            if isinstance(result, str):
                return dg.MaterializeResult(metadata=row_count(0, note=result))
            progress.end(f"Read {counted(result.row_count, 'record')} of {result.layout}, all that FileMaker has")
        return dg.MaterializeResult(
            # Equal records are the same version, so what is staged from them does not count as out of date.
            data_version=dg.DataVersion(result.digest),
            metadata=row_count(
                result.row_count,
                layout=result.layout,
                fed_fields=", ".join(result.fed_fields),
                not_on_the_layout=", ".join(result.unfed) or "none",
                digest=result.digest[:DIGEST],
            ),
        )

    return extraction


def extraction_assets() -> list[dg.AssetsDefinition]:
    """One asset a source entity."""
    return [_extraction(entity) for entity in PLURALS]
