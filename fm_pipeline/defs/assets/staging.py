"""Phase 0, second half: FileMaker's records typed, checked and resolved; what Nexus will have, not yet in Nexus."""

from datetime import UTC, datetime
from functools import partial

import dagster as dg
from psycopg2.extensions import connection as Connection

from fm_pipeline.defs.assets.metadata import row_count
from fm_pipeline.defs.assets.plots import not_loaded_by_rule
from fm_pipeline.defs.assets.system_configuration import observe_configuration
from fm_pipeline.defs.assets.tables import own_table
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import OWNERS, PLURALS, POOL, STAGE
from fm_pipeline.defs.registry import entities
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.entities.order import parents
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.entities.registry import CONTACT_DETAIL, LOOK_UPS, Entity, staged
from fm_pipeline.errors import StagingStop
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.settings import Settings
from fm_pipeline.staging.run import check_staged, fill_the_crosswalk, is_extracted, stage, why_left_out


def built_from(entity: Entity) -> list[str]:
    """The assets that a staged entity is built from: its extraction, those that it points to, what it looks up."""
    before = [f"staged_{PLURALS[parent]}" for parent in parents(entities(), entity.name)]
    if entity.name == "patient":
        before = [f"filemaker_{PLURALS[CONTACT_DETAIL]}", "crosswalk", *before]
    looked_up = [LOOK_UPS[name][0] for name in entity.looked_up if name in LOOK_UPS]
    return [f"filemaker_{entity.plural}", *(before or ["crosswalk"]), *looked_up]


@dg.asset(
    group_name=STAGE,
    deps=["preflight"],
    description="FileMaker id ↔ Nexus id of everything that Nexus already has. A patient keeps its Nexus id because"
    " of it. No FileMaker id leaves it.",
    kinds={"postgres"},
    metadata=own_table("crosswalk"),
    owners=OWNERS,
    pool=POOL,
)
def crosswalk(context: dg.AssetExecutionContext, nexus: NexusTarget) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows only the bare class
    """Take over the ids that Nexus knows."""
    with explained(), nexus.connect() as connection:
        for observation in observe_configuration(connection, nexus.settings.nexus_schema):
            context.log_event(observation)
        new, total = fill_the_crosswalk(connection, nexus.settings)
    return dg.MaterializeResult(metadata=row_count(total, **{f"new_{entity}": rows for entity, rows in new.items()}))


def _staged(definition: Entity) -> dg.AssetsDefinition:
    entity, plural = definition.name, definition.plural

    @dg.asset(
        name=f"staged_{plural}",
        group_name=STAGE,
        deps=built_from(definition),
        description=f"The {plural.replace('_', ' ')} as Nexus will have them. Every source row has an end: ready,"
        " quarantined by a rule, or skipped with a reason.",
        kinds={"postgres", "python"},
        owners=OWNERS,
        pool=POOL,
        check_specs=[
            dg.AssetCheckSpec(
                "rules",
                asset=f"staged_{plural}",
                # Not blocking: the plan and the transaction refuse, with the list of all entities at once. An
                # administrator who saw only the patients' list would settle it and meet the next one.
                description="No row breaks a rule whose action is stop; no rule is broken more often than it may.",
            )
        ],
    )
    def staged(context: dg.AssetExecutionContext, nexus: NexusTarget) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows only the bare class
        with (
            explained(),
            nexus.connect() as connection,
            run_progress(nexus.settings, context.run.run_id, log=context.log.info) as progress,
        ):
            if reasons := why_left_out(connection, entity):
                return dg.MaterializeResult(
                    metadata=row_count(0, note=" ".join(reasons)),
                    check_results=[dg.AssetCheckResult(check_name="rules", passed=True)],
                )
            if not is_extracted(connection, load_profile(nexus.settings.filemaker_profile), entity):
                return dg.MaterializeResult(
                    metadata=row_count(0, note="The profile has no layout for this entity."),
                    check_results=[dg.AssetCheckResult(check_name="rules", passed=True)],
                )
            progress.update(f"stage {plural}", 0)
            own = stage(
                connection,
                entity,
                nexus.settings,
                run_id=context.run.run_id,
                now=datetime.now(UTC),
                on_progress=partial(progress.update, f"stage {plural}"),
            )
            verdict = _verdict(connection, nexus.settings, entity)
            progress.end(
                f"Staged {counted(own.source, 'record')}: {own.loaded:,} ready, {own.quarantined:,} quarantined,"
                f" {own.skipped:,} skipped",
                errors=own.quarantined,
            )
        return dg.MaterializeResult(
            metadata=row_count(
                own.loaded,
                source_rows=own.source,
                quarantined=own.quarantined,
                skipped=own.skipped,
                not_loaded=dg.MetadataValue.md(not_loaded_by_rule([own])),
            ),
            check_results=[
                dg.AssetCheckResult(
                    check_name="rules", passed=not verdict, description=verdict or "No rule stops the run."
                )
            ],
        )

    return staged


def _verdict(connection: Connection, settings: Settings, entity: str) -> str:
    """Why the staged rows may not be loaded; empty when they may."""
    try:
        check_staged(connection, settings, [entity])
    except StagingStop as stop:
        return str(stop)
    return ""


def staging_assets() -> list[dg.AssetsDefinition]:
    """The crosswalk, and one asset a staged entity."""
    return [crosswalk, *map(_staged, staged(entities()))]
