"""A client without any cleverness: one method, one request, the answer as it came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests

PASSWORD = "right"  # of every account in these tests


@dataclass(frozen=True)
class RawResponse:
    """Status, FileMaker's code (text) and message, the `response` object, the HTTP headers."""

    status: int
    code: str
    message: str
    response: dict[str, Any]
    headers: Any

    @property
    def end(self) -> tuple[int, str]:
        """Status and code."""
        return self.status, self.code

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The records."""
        found: list[dict[str, Any]] = self.response["data"]
        return found

    def column(self, name: str) -> list[Any]:
        """One field of every record."""
        return [row["fieldData"][name] for row in self.rows]


@dataclass
class Raw:
    """A client of one file."""

    base_url: str
    database: str
    version: str = "vLatest"
    token: str = ""
    session: requests.Session = field(default_factory=requests.Session)

    def request(self, verb: str, path: str, **options: Any) -> RawResponse:
        """A request below `/fmi/data/{version}/`, with the token if there is one."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        url = f"{self.base_url}/fmi/data/{self.version}/{path}"
        got = self.session.request(verb, url, headers=headers, timeout=60, **options)
        body = got.json()
        first = body["messages"][0]
        return RawResponse(got.status_code, first["code"], first["message"], body["response"], got.headers)

    def login(self, name: str = "admin", password: str = PASSWORD, **options: Any) -> RawResponse:
        """Log in, and keep the token."""
        self.token = ""
        options = {"auth": (name, password), "json": {}, **options}
        answer = self.request("POST", f"databases/{self.database}/sessions", **options)
        self.token = answer.response.get("token", "")
        return answer

    def on(self, layout: str, rest: str = "") -> str:
        """The path of a layout, or of something below it."""
        return f"databases/{self.database}/layouts/{quote(layout, safe='')}{rest}"

    def records(self, layout: str, **parameters: Any) -> RawResponse:
        """GET records. Dots in parameter names are written as two underscores inside: `_limit__Notes`."""
        given = {name[0] + name[1:].replace("__", "."): value for name, value in parameters.items()}
        return self.request("GET", self.on(layout, "/records"), params=given)

    def find(self, layout: str, *query: dict[str, Any], **more: Any) -> RawResponse:
        """POST _find."""
        return self.request("POST", self.on(layout, "/_find"), json={"query": list(query), **more})

    def record(self, layout: str, number: int, **parameters: Any) -> RawResponse:
        """GET one record."""
        return self.request("GET", self.on(layout, f"/records/{number}"), params=parameters)

    def create(self, layout: str, data: dict[str, Any], **more: Any) -> RawResponse:
        """POST a new record."""
        return self.request("POST", self.on(layout, "/records"), json={"fieldData": data, **more})

    def edit(self, layout: str, number: int, data: dict[str, Any], **more: Any) -> RawResponse:
        """PATCH a record."""
        return self.request("PATCH", self.on(layout, f"/records/{number}"), json={"fieldData": data, **more})
