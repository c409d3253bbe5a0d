"""Who may do what in Dagster's GraphQL. This is checked where Dagster executes a field: no text of a query is read.

Dagster's own permissions (`context.py`) refuse a viewer's mutations too, and grey the buttons. They are kept in the
resolvers of its mutations, one by one; this holds for all of them, also for those that a new Dagster adds.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from dagster_graphql.schema import create_schema
from graphql import GraphQLError, GraphQLField, default_field_resolver

from fm_pipeline.console.gateway.context import ConsoleRequestContext
from fm_pipeline.console.gateway.routes import as_run_id

ADMINS_ONLY = "Only an administrator may do this. Nothing was changed."
NOT_SHOWN = "Only an administrator may read this."
# What runs print may hold anything, and a download may need no login (Dagster's own links into S3). A resource's value
# may be a password that somebody wrote into the definitions.
HIDDEN = (
    ("CapturedLogs", "stdout"),
    ("CapturedLogs", "stderr"),
    ("CapturedLogsMetadata", "stdoutDownloadUrl"),
    ("CapturedLogsMetadata", "stderrDownloadUrl"),
    ("ConfiguredValue", "value"),
)
# Sent by Dagster's page of its own accord, so it is not recorded. A viewer is answered as if it had been done.
_FIRST_VISIT = "setNuxSeen"

_FAILURES = re.compile("Error|Failure|NotFound|Invalid|Conflict|Unsupported")  # in the names of Dagster's answers

Resolver = Callable[..., Any]


@dataclass(frozen=True)
class Mutation:
    """What the audit trail says of a mutation. No argument but a run's id: the others may hold anything.

    Attributes:
        outcome: `started` and then `done` or `failed`; or `refused`.
        answer: the name of the type that Dagster answered.
    """

    name: str
    outcome: Literal["started", "done", "failed", "refused"]
    answer: str = ""
    run_id: str | None = None


RecordMutation = Callable[[ConsoleRequestContext, Mutation], None]


class Refused(GraphQLError):
    """The role of who asks is too little."""


class NotByPost(GraphQLError):
    """A subscription, which only the websocket can answer."""


def guarded_schema(record: RecordMutation) -> Any:
    """Return Dagster's schema (of graphene) with every mutation, and what is hidden, behind the role of who asks.

    A subscription that comes by POST is an error of who asks.

    Args:
        record: puts a mutation into the audit trail.
    """
    schema = create_schema()
    types = schema.graphql_schema
    if types.mutation_type is None or types.subscription_type is None:
        raise TypeError("Dagster's schema has no mutations or no subscriptions.")
    for name, field in types.mutation_type.fields.items():
        field.resolve = _mutation(name, _resolver(field), record)
    for field in types.subscription_type.fields.values():
        field.resolve = _by_websocket(_resolver(field))
    for type_name, name in HIDDEN:
        field = types.type_map[type_name].fields[name]
        field.resolve = _hidden(_resolver(field))
    return schema


def _resolver(field: GraphQLField) -> Resolver:
    return field.resolve or default_field_resolver


def _mutation(name: str, resolve: Resolver, record: RecordMutation) -> Resolver:
    def guarded(root: Any, info: Any, **arguments: Any) -> Any:
        context: ConsoleRequestContext = info.context
        if name == _FIRST_VISIT:
            return resolve(root, info, **arguments) if context.is_admin else True
        if context.is_admin:
            return _carried_out(name, partial(resolve, root, info, **arguments), arguments, partial(record, context))
        record(context, Mutation(name, "refused"))
        raise Refused(ADMINS_ONLY)

    return guarded


async def _carried_out(
    name: str, resolve: Callable[[], Any], arguments: dict[str, Any], record: Callable[[Mutation], None]
) -> Any:
    asked_for = as_run_id(arguments.get("runId"))
    record(Mutation(name, "started", run_id=asked_for))  # if it cannot be recorded, it is not done
    try:
        answer = resolve()
        answer = await answer if inspect.isawaitable(answer) else answer
    except Exception as error:
        record(Mutation(name, "failed", type(error).__name__, asked_for))
        raise
    kind = type(answer).__name__.removeprefix("Graphene")
    run_id = as_run_id(getattr(getattr(answer, "run", None), "runId", asked_for))
    record(Mutation(name, "failed" if _FAILURES.search(kind) else "done", kind, run_id))
    return answer


def _by_websocket(resolve: Resolver) -> Resolver:
    def guarded(event: Any, info: Any, **arguments: Any) -> Any:
        if event is None:  # nothing has happened: this is the request itself
            raise NotByPost("A subscription is answered by the websocket.")
        return resolve(event, info, **arguments)

    return guarded


def _hidden(resolve: Resolver) -> Resolver:
    def guarded(root: Any, info: Any, **arguments: Any) -> Any:
        return resolve(root, info, **arguments) if info.context.is_admin else NOT_SHOWN

    return guarded
