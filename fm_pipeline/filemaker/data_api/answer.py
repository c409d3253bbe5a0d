"""The Data API's answer, and the recognition of answers that are none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from fm_pipeline.filemaker.errors import AnswerCut, NotTheDataApi, ServerUnavailable, UnreadableAnswer
from fm_pipeline.filemaker.transport import NOT_ANSWERING, FetchedResponse, looks_complete
from fm_pipeline.filemaker.values import parse_float

_RECORD_ID = re.compile(rb'"recordId"\s*:\s*"(\d{1,18})"')


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the Data API: FileMaker's code, the `response` object, and the token header of a login."""

    code: int
    response: dict[str, Any] = field(repr=False)
    token: str | None = field(repr=False)


def read_answer(response: FetchedResponse, action: str) -> Answer:
    """Return the answer, with any code.

    Raises:
        ServerUnavailable: the web server speaks for the Data API.
        AnswerCut: it is half an answer, as of a connection that broke.
        UnreadableAnswer: it is whole, but no JSON.
        NotTheDataApi: a redirect, a web page, or other JSON.
    """
    status, content = response.status, response.body
    other = NotTheDataApi(f"The answer (HTTP {status}) is not the Data API's when asked to {action}.")
    try:
        body = json.loads(content, parse_float=parse_float, parse_constant=str)  # NaN is no JSON, and no number
    except RecursionError:
        raise other from None
    except ValueError:
        if status in NOT_ANSWERING:
            raise ServerUnavailable(
                f"The web server answered {status} in place of the Data API when asked to {action}."
            ) from None
        if status != 200 or not content.lstrip().startswith(b"{"):
            raise other from None
        if looks_complete(content):
            ids = _RECORD_ID.findall(content)
            record_id = int(ids[0]) if len(ids) == 1 else None
            raise UnreadableAnswer(
                f"FileMaker's answer is no valid JSON when asked to {action}.", record_id=record_id
            ) from None
        raise AnswerCut(f"FileMaker's answer ends in the middle when asked to {action}.") from None
    try:
        code = int(body["messages"][0]["code"])
        payload = dict(body.get("response") or {})
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise other from None
    if code == 0 and status >= 400:
        raise NotTheDataApi(f"The answer says both HTTP {status} and OK when asked to {action}.")
    return Answer(code, payload, response.headers.get("X-FM-Data-Access-Token"))
