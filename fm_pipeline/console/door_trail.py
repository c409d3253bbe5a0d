"""What the door puts into the audit trail: changes that are made in Dagster's pages, downloads and refusals."""

from __future__ import annotations

import logging

from fm_pipeline.console.door.context import ConsoleRequestContext
from fm_pipeline.console.door.permissions import Mutation
from fm_pipeline.console.door.visitors import Visitor

_log = logging.getLogger(__name__)


def record_mutation(context: ConsoleRequestContext, mutation: Mutation) -> None:
    """Record a mutation of Dagster's GraphQL, without its arguments."""
    _log.info("%s of %s from %s: %s", mutation.name, context.username, context.address, mutation.outcome)


async def record_access(visitor: Visitor, address: str, outcome: str, detail: str) -> None:
    """Record a download or a refusal."""
    _log.info("%s from %s: %s %s", visitor.username, address, outcome, detail)
