"""What the gateway puts into the audit trail: changes that are made in Dagster's pages, downloads and refusals."""

from __future__ import annotations

import asyncio

from fm_pipeline.console.audit import NOBODY, note_for
from fm_pipeline.console.gateway.context import ConsoleRequestContext
from fm_pipeline.console.gateway.permissions import Mutation
from fm_pipeline.console.gateway.visitors import Visitor
from fm_pipeline.db.audit import AuditAction, AuditOutcome


def record_mutation(context: ConsoleRequestContext, mutation: Mutation) -> None:
    """Record a mutation of Dagster's GraphQL, without its arguments.

    Raises:
        DatabaseError: the row was not written.
    """
    answer = f" ({mutation.answer})" if mutation.answer else ""
    username, detail = context.username or NOBODY, f"Dagster: {mutation.name}{answer}."
    note_for(username, context.address, "dagster", mutation.outcome, detail, run_id=mutation.run_id)


async def record_access(
    visitor: Visitor, address: str, action: AuditAction, outcome: AuditOutcome, detail: str, run_id: str | None = None
) -> None:
    """Record a download or a refusal.

    Raises:
        DatabaseError: the row was not written.
    """
    await asyncio.to_thread(note_for, visitor.username, address, action, outcome, detail, run_id=run_id)
