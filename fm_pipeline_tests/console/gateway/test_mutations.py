"""Every mutation of Dagster's schema, by introspection: a new Dagster cannot bring one that a viewer may send."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import requests

from fm_pipeline.console.gateway.permissions import ADMINS_ONLY, NOT_SHOWN, guarded_schema
from fm_pipeline_tests.console.conftest import Console

# Answered to a viewer as if it had been done, because Dagster's page sends it of its own accord.
ANSWERED_AND_NOT_DONE = {"setNuxSeen": True}
_TYPE = "kind name ofType { kind name ofType { kind name ofType { kind name } } }"
_INTROSPECTION = f"""
{{ __schema {{
  mutationType {{ fields {{ name type {{ {_TYPE} }} args {{ name defaultValue type {{ {_TYPE} }} }} }} }}
  types {{ name enumValues {{ name }} inputFields {{ name defaultValue type {{ {_TYPE} }} }} }}
}} }}
"""
_STATE = """
{ runsOrError { ... on Runs { count } } partitionBackfillsOrError { ... on PartitionBackfills { results { id } } }
  instance { autoMaterializePaused concurrencyLimits { concurrencyKey slotCount } }
  repositoryOrError(repositorySelector: {repositoryLocationName: "fm_pipeline", repositoryName: "__repository__"}) {
    ... on Repository { schedules { name scheduleState { status } }
      sensors { name sensorState { status typeSpecificData { ... on SensorData { lastCursor } } } } } } }
"""


def _state(console: Console, admin: requests.Session) -> Any:
    """What mutations change; without the cursors that the daemon moves."""
    state = graphql(console, admin, _STATE).json()
    for sensor in state["data"]["repositoryOrError"]["sensors"]:
        if sensor["sensorState"]["status"] == "RUNNING":
            del sensor["sensorState"]["typeSpecificData"]
    return state


def graphql(console: Console, session: requests.Session, query: str, **variables: Any) -> requests.Response:
    body = {"query": query, "variables": variables}
    return session.post(f"{console.url}/dagster/graphql", json=body, timeout=60)


def test_a_viewer_may_send_no_mutation_and_changes_nothing(console: Console) -> None:
    admin, viewer = console.session("admin"), console.session("reception")
    schema = graphql(console, admin, _INTROSPECTION).json()["data"]["__schema"]
    fields = schema["mutationType"]["fields"]
    assert len(fields) > 30
    before = _state(console, admin)
    answers = {field["name"]: graphql(console, viewer, _call(field, schema)) for field in fields}
    done = {name: answer.json()["data"][name] for name, answer in answers.items() if answer.status_code != 403}
    assert done == ANSWERED_AND_NOT_DONE
    told = {name: answer.json()["errors"][0]["message"] for name, answer in answers.items() if name not in done}
    assert set(told.values()) == {ADMINS_ONLY}
    assert _state(console, admin) == before


def test_the_state_that_is_compared_shows_a_change_of_an_admin(console: Console) -> None:
    admin = console.session("admin")
    before = _state(console, admin)
    limit = 'mutation { setConcurrencyLimit(concurrencyKey: "gateway", limit: 3) }'
    assert graphql(console, admin, limit).json()["data"] == {"setConcurrencyLimit": True}
    changed = _state(console, admin)
    assert graphql(console, admin, 'mutation { deleteConcurrencyLimit(concurrencyKey: "gateway") }').status_code == 200
    assert changed != before == _state(console, admin)


def test_dagster_itself_also_refuses_a_viewer_so_that_its_buttons_are_grey(console: Console) -> None:
    query = "{ permissions { permission value disabledReason } }"
    held = {}
    for name in ("reception", "admin"):
        answer = graphql(console, console.session(name), query).json()["data"]["permissions"]
        held[name] = {entry["permission"]: entry["value"] for entry in answer}
    assert not any(held["reception"].values())
    assert held["admin"]["launch_pipeline_execution"]
    assert held["admin"].keys() == held["reception"].keys()


def test_a_mutation_in_a_fragment_an_alias_or_a_second_operation_is_refused_as_well(console: Console) -> None:
    viewer = console.session("reception")
    for query, name in (
        ("mutation { ...F } fragment F on Mutation { reloadWorkspace { __typename } }", None),
        ("mutation { setNuxSeen: reloadWorkspace { __typename } }", None),
        ("query Q { version } mutation M { ... on Mutation { reloadWorkspace { __typename } } }", "M"),
    ):
        body = {"query": query, "operationName": name}
        answer = viewer.post(f"{console.url}/dagster/graphql", json=body, timeout=30)
        assert (answer.status_code, answer.json()["errors"][0]["message"]) == (403, ADMINS_ONLY)


def test_only_an_admin_reads_the_value_of_a_resource() -> None:
    """No resource of the definitions has one today."""
    field = guarded_schema(lambda *_: None).graphql_schema.type_map["ConfiguredValue"].fields["value"]
    configured = SimpleNamespace(value="a password in the definitions")
    viewer, admin = (
        SimpleNamespace(field_name="value", context=SimpleNamespace(is_admin=is_admin)) for is_admin in (False, True)
    )
    assert field.resolve(configured, viewer) == NOT_SHOWN
    assert field.resolve(configured, admin) == configured.value


def test_a_viewer_does_not_read_what_runs_print_nor_the_values_of_resources(console: Console) -> None:
    query = """{ capturedLogs(logKey: ["none", "compute_logs", "none"]) { stdout stderr }
      capturedLogsMetadata(logKey: ["none", "compute_logs", "none"]) { stdoutDownloadUrl stderrDownloadUrl }
      repositoryOrError(repositorySelector: {repositoryLocationName: "fm_pipeline", repositoryName: "__repository__"}) {
        ... on Repository { allTopLevelResourceDetails { configuredValues { key value } } } } }"""
    shown = graphql(console, console.session("reception"), query).json()["data"]
    assert shown["capturedLogs"] == {"stdout": NOT_SHOWN, "stderr": NOT_SHOWN}
    assert set(shown["capturedLogsMetadata"].values()) == {NOT_SHOWN}
    resources = shown["repositoryOrError"]["allTopLevelResourceDetails"]
    assert {entry["value"] for resource in resources for entry in resource["configuredValues"]} <= {NOT_SHOWN}
    assert graphql(console, console.session("admin"), query).json()["data"]["capturedLogs"]["stdout"] is None


def test_a_viewer_does_not_read_dagster_yaml_which_may_hold_passwords(console: Console) -> None:
    query = "{ instance { hasInfo info } }"
    shown = graphql(console, console.session("reception"), query).json()["data"]["instance"]
    assert shown == {"hasInfo": False, "info": None}
    assert "run_launcher" in graphql(console, console.session("admin"), query).json()["data"]["instance"]["info"]


def _call(field: dict[str, Any], schema: dict[str, Any]) -> str:
    given = ", ".join(f"{arg['name']}: {_value(arg['type'], schema)}" for arg in field["args"] if _must(arg))
    kind = field["type"]
    while kind["ofType"]:
        kind = kind["ofType"]
    arguments = f"({given})" if given else ""
    selection = "" if kind["kind"] == "SCALAR" else "{ __typename }"
    return f"mutation {{ {field['name']}{arguments} {selection} }}"


def _must(argument: dict[str, Any]) -> bool:
    return argument["type"]["kind"] == "NON_NULL" and argument["defaultValue"] is None


def _value(kind: dict[str, Any], schema: dict[str, Any]) -> str:
    if kind["kind"] == "NON_NULL":
        return _value(kind["ofType"], schema)
    if kind["kind"] == "LIST":
        return f"[{_value(kind['ofType'], schema)}]"
    scalars = {"Int": "1", "Float": "1.0", "Boolean": "true", "RunConfigData": "{}"}
    known: dict[str, Any] = next((type_ for type_ in schema["types"] if type_["name"] == kind["name"]), {})
    if known.get("enumValues"):
        return str(known["enumValues"][0]["name"])
    if known.get("inputFields"):
        given = (f"{entry['name']}: {_value(entry['type'], schema)}" for entry in known["inputFields"] if _must(entry))
        return f"{{{', '.join(given)}}}"
    return scalars.get(kind["name"], '"none"')
