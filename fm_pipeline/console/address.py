"""From where a visitor asks: the address of the connection, or what a trusted proxy says about it.

Guesses of passwords are counted by this address, and the audit trail holds it, so nobody may choose it: the header
X-Forwarded-For counts only if the connection comes from CONSOLE_TRUSTED_PROXIES.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest
from starlette.requests import HTTPConnection

UNKNOWN = "unknown"
Network = IPv4Network | IPv6Network


def trusted_networks(setting: str | None) -> list[Network]:
    """Return the networks of CONSOLE_TRUSTED_PROXIES."""
    return [ip_network(each.strip()) for each in (setting or "").split(",") if each.strip()]


def visitor_address(peer: str | None, forwarded: str, trusted: Sequence[Network]) -> str:
    """Return the address of a visitor: the last one in the chain that is not a trusted proxy.

    Args:
        peer: the other end of the connection.
        forwarded: the header X-Forwarded-For, to which each proxy appends the address of its own peer. What stands
            further left was written by the visitor.
    """
    address = _normal(peer)
    for hop in reversed(forwarded.split(",")):
        if address == UNKNOWN or not any(ip_address(address) in network for network in trusted):
            break
        before = _normal(hop.strip())
        if before == UNKNOWN:
            break
        address = before
    return address


def _normal(text: str | None) -> str:
    """Return an address in one spelling; an IPv4 address that arrives by IPv6 as IPv4."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return UNKNOWN
    return str(getattr(address, "ipv4_mapped", None) or address)


def django_address(request: HttpRequest) -> str:
    """Return from where a request of Django's pages comes."""
    return visitor_address(
        request.META.get("REMOTE_ADDR"), request.headers.get("X-Forwarded-For", ""), settings.CONSOLE_TRUSTED_PROXIES
    )


def connection_address(connection: HTTPConnection) -> str:
    """Return from where a request or websocket of the gateway comes."""
    forwarded = ",".join(connection.headers.getlist("x-forwarded-for"))
    return visitor_address(connection.client and connection.client.host, forwarded, settings.CONSOLE_TRUSTED_PROXIES)
