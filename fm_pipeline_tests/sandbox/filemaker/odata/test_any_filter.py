"""Whatever a filter, a selection or an order says, the stand-in answers with rows or with an error of the request."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fm_pipeline_tests.sandbox.filemaker.odata.conftest import RawOData

FIELDS = ["id", "name", "weight", "born", "seen", "wait", "photo", '"notes"', "ROWID"]
MOMENTS = ["2024-02-30", "2024-02-29", "12:00", "25:61", "2024-02-29T01:02:03Z"]
LITERALS = ["null", "true", "1", "-2.5", "'a'", "''", *MOMENTS]
OTHERS = ["and", "or", "not", "eq", "ne", "lt", "in", "add", "div", "mod", "(", ")", ",", "asc", "é", "now()"]
CALLS = ["contains(", "substring(", "length(", "year(", "round("]
WORDS = st.sampled_from([*FIELDS, *LITERALS, *OTHERS, *CALLS])
TEXTS = st.one_of(st.lists(WORDS, max_size=9).map(" ".join), st.text(max_size=12))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(option=st.sampled_from(["filter", "orderby", "select", "expand", "top", "skip", "skiptoken"]), text=TEXTS)
def test_any_option_gives_rows_or_an_error_of_the_request(odata: RawOData, option: str, text: str) -> None:
    answer = odata.get(f"/Patients?${option}={quote(text, safe='')}")
    assert answer.status_code in (200, 400), (text, answer.text)
    assert ("value" in answer.json()) == (answer.status_code == 200)
