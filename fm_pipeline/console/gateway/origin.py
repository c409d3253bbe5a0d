"""From where a request comes: the name by which the site was asked, and the page that sent it.

A cookie with SameSite goes along with a request from a page of another port of the same host, so it is `Origin` that
tells. https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Origin
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host
from starlette.requests import HTTPConnection

_SCHEMES = {"ws": "http", "wss": "https"}


def is_ours(connection: HTTPConnection, hosts: Sequence[str]) -> bool:
    """Return whether the `Host` header is a name of this site, as Django asks for its own pages."""
    names = connection.headers.getlist("host")
    domain, _port = split_domain_port(names[0]) if len(names) == 1 else ("", "")
    return bool(domain) and validate_host(domain, hosts)


def is_same_origin(connection: HTTPConnection, url: str | None) -> bool:
    """Return whether a page of ours sent it: browsers send `Origin` with every POST and websocket.

    Args:
        url: where people open the site. Behind a proxy that ends TLS, only it says `https`.
    """
    origins = connection.headers.getlist("origin")
    if len(origins) != 1:
        return False
    scheme = connection.scope.get("scheme", "http")
    ours = {f"{_SCHEMES.get(scheme, scheme)}://{connection.headers.get('host', '')}"}
    if url:
        address = urlsplit(url)
        ours.add(f"{address.scheme}://{address.netloc}")
    return origins[0] in ours
