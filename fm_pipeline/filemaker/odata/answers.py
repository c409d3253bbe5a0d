"""The answers of OData: JSON, or an error in JSON or XML, or the page of a web server.

The body of a 200 is not always JSON: FileMaker writes a bare `?` for a number or date field with other text, numbers
without their zero, and control characters as they are. Nothing is repaired here, because a repair guesses; the reader
finds the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fm_pipeline.filemaker.errors import (
    AnswerCut,
    ContainerNotAFile,
    ContainerRefused,
    ContainerTooLarge,
    DataApiError,
    RecordMissing,
    ServerUnavailable,
    UnreadableAnswer,
    WrongPassword,
)
from fm_pipeline.filemaker.model import LARGEST_FILE
from fm_pipeline.filemaker.odata.errors import NotOData, ODataOff, ODataPrivilegeMissing, odata_error
from fm_pipeline.filemaker.transport import NOT_ANSWERING, FetchedResponse, looks_complete
from fm_pipeline.filemaker.values import parse_float

_XML_CODE = re.compile(rb"<(?:[\w.-]+:)?code(?:\s[^>]*)?>\s*(-?\d{1,9})\s*</")
_CODE = re.compile(r"-?\d{1,9}")


def read_json(response: FetchedResponse, action: str) -> dict[str, Any]:
    """Return the object of a successful answer.

    Raises:
        UnreadableAnswer: the body is whole and no JSON; repeating is useless.
        ServerUnavailable: the body is not whole, or the web server speaks for the engine.
        FileMakerError: what FileMaker refused.
    """
    require_success(response, action)
    try:
        body = json.loads(response.body, parse_float=parse_float, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        if not response.body.lstrip().startswith(b"{"):
            raise NotOData(f"The answer (HTTP 200) is not OData's when asked to {action}.") from None
        if not looks_complete(response.body):
            raise AnswerCut(f"The answer was cut off when FileMaker was asked to {action}.") from None
        raise UnreadableAnswer(f"FileMaker's answer is no valid JSON when asked to {action}.") from None
    if not isinstance(body, dict):
        raise NotOData(f"The answer (HTTP 200) is not OData's when asked to {action}.")
    if "error" in body:
        raise error_in(body["error"], action) or NotOData(f"FileMaker answered an error when asked to {action}.")
    return body


def require_success(response: FetchedResponse, action: str) -> None:
    """Raise the error of an answer that is no 200.

    Raises:
        FileMakerError: see above.
    """
    if response.status == 200:
        return
    if (error := _refusal(response.body, action)) is not None:
        raise error
    says = f"(HTTP {response.status}) when asked to {action}"
    if response.status in NOT_ANSWERING:
        raise ServerUnavailable(f"The web server answered in place of OData {says}.")
    if response.status == 401:
        raise WrongPassword(f"FileMaker refused the account {says}.")
    if response.status == 403:
        raise ODataPrivilegeMissing(f"FileMaker refused the account {says}.")
    if response.status == 404:
        raise ODataOff(f"There is nothing at OData's address {says}.")
    raise NotOData(f"The answer is not OData's {says}.")


def read_file(response: FetchedResponse, action: str) -> bytes:
    """Return the file of an answer.

    Raises:
        ContainerRefused: there is none. FileMaker says so in three ways: 204, no bytes, or 404.
        ContainerNotAFile: there came text or a page.
        ContainerTooLarge: it is larger than anything that is expected.
        FileMakerError: what FileMaker refused.
    """
    empty = ContainerRefused(f"The container is empty, or the record is gone, when asked to {action}.")
    if response.status == 204:
        raise empty
    try:
        require_success(response, action)
    except RecordMissing:
        raise empty from None
    if not response.body:
        raise empty
    if len(response.body) > LARGEST_FILE:
        raise ContainerTooLarge(f"The file has more than {LARGEST_FILE:,} bytes when asked to {action}.")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in ("application/json", "application/xml"):
        raise ContainerNotAFile(f"There came text and no file when asked to {action}.")
    return response.body


def error_in(error: object, action: str) -> DataApiError | None:
    """Return the error of an `error` object; None if it has no code. Inside a row there may be a list of them."""
    if isinstance(error, list) and error and isinstance(error[0], Mapping):
        error = error[0].get("error")
    code = str(error.get("code")) if isinstance(error, Mapping) else ""
    return odata_error(int(code), action) if _CODE.fullmatch(code) else None


def next_link(body: Mapping[str, Any]) -> str | None:
    """Return the link to more rows in either spelling; None if there are no more."""
    link = body.get("@nextLink", body.get("@odata.nextLink"))
    return None if link is None else str(link)


def count_in(body: Mapping[str, Any]) -> int | None:
    """Return the number of all rows in either spelling, also if it is text; None if there is none."""
    count = body.get("@count", body.get("@odata.count"))
    return int(count) if re.fullmatch(r"\d{1,15}", str(count)) else None


def _refusal(body: bytes, action: str) -> DataApiError | None:
    """Return the error of a body in JSON or XML; None if it is something else."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        found = _XML_CODE.search(body)
        return odata_error(int(found[1]), action) if found else None
    return error_in(parsed.get("error"), action) if isinstance(parsed, Mapping) else None


def _refuse_constant(_name: str) -> Any:
    raise ValueError
