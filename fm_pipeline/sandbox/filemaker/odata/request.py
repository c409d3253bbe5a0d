"""One request to the OData service, after its URL was parsed and its account checked."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from fm_pipeline.sandbox.filemaker.call import Engine
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline.sandbox.filemaker.faults import broken_json
from fm_pipeline.sandbox.filemaker.odata.address import ROOT, ResourcePath
from fm_pipeline.sandbox.filemaker.odata.failures import ServiceError, syntax
from fm_pipeline.sandbox.filemaker.odata.sets import StoreEntitySet, entity_set

_PREFERENCE = re.compile(r"([\w.-]+)(?:\s*=\s*\"?([^\",;\s]*)\"?)?")


@dataclass(frozen=True)
class ServiceCall:
    """A request to a file.

    Args:
        database: the hosted file; `path.database` is as the URL spells it.
        options: query options by name without `$`.
        headers: by lower-case name.
        server: scheme and host, as the client wrote them.
        raw_path: as the client wrote it.
    """

    engine: Engine
    verb: str
    path: ResourcePath
    options: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    server: str
    raw_path: str
    database: str
    account: ServerAccount

    @property
    def base(self) -> str:
        """The URL of the file."""
        return f"{self.server}{ROOT}/{quote(self.path.database)}"

    @property
    def accept(self) -> str:
        """The header Accept, in lower case."""
        return self.headers.get("accept", "").lower()

    @property
    def prefers(self) -> Mapping[str, str]:
        """The preferences of the request by lower-case name; "" where one has no value."""
        found = _PREFERENCE.findall(self.headers.get("prefer", ""))
        return {name.lower(): value for name, value in found}

    @property
    def exact_numbers(self) -> bool:
        """Decimals and counts are written as text."""
        return "ieee754compatible=true" in self.accept

    def control(self, name: str) -> str:
        """Return the name of a control key: short in OData 4.01, `@odata.…` in 4.0."""
        versions = (self.headers.get("odata-version", ""), self.headers.get("odata-maxversion", ""))
        long = self.engine.behaviour.odata.long_names or "4.0" in versions
        return f"@odata.{name}" if long else f"@{name}"

    def number(self, option: str) -> int | None:
        """Return an option that is a number, None if it was not given. Raises ServiceError -1002."""
        text = self.options.get(option)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,15}", text):
            raise syntax(f"${option}={text}")
        return int(text)

    def named_set(self) -> StoreEntitySet:
        """Return the entity set that the URL names. Raises ServiceError -1010."""
        return entity_set(self.engine, self.database, self.account, self.path.resource, self.path.quoted)

    def given(self) -> dict[str, Any]:
        """Return the JSON object of the body. Raises ServiceError 400 if there is none."""
        try:
            parsed = json.loads(self.body or b"{}")
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise ServiceError(400, "-1002", "The body is not a JSON object")
        return parsed

    def answer(self, content: Mapping[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """Return a JSON response, with its context left out if the request asks for no metadata."""
        if "metadata=none" in self.accept:
            content = {name: value for name, value in content.items() if name != self.control("context")}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        if self.engine.faults.broken_values:
            text = broken_json.spoil(text)
        version = "4.0" if self.control("x").startswith("@odata") else "4.01"
        return Response(
            text, status, {"OData-Version": version, **(headers or {})}, media_type="application/json;charset=utf-8"
        )


def credentials(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return account name and password of a request. Raises ServiceError 212 if it has none."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise bad_account()
    return name, password


def bad_account() -> ServiceError:
    """Return the error for a wrong or missing account or password."""
    return ServiceError(401, "212", "Invalid user account and/or password; please try again")
