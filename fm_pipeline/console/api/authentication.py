"""Who may call: an admin, by a session of the console or by a token."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.http import HttpRequest
from ninja.errors import HttpError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from fm_pipeline.console.accounts.middleware import REFUSED_SCOPE, SAFE
from fm_pipeline.console.accounts.roles import Role
from fm_pipeline.console.accounts.tokens import TokenScope, token_visitor
from fm_pipeline.console.audit import note_refusal
from fm_pipeline.console.django_settings import SESSION_COOKIE_NAME


class DicomToken(HttpBearer):
    """A token with the scope `dicom` or `admin`. Cookies then do not count."""

    def authenticate(self, request: HttpRequest, token: str) -> str | None:  # the middleware read it
        """Return who asks, for the audit trail.

        Raises:
            HttpError: 403, the scope of the token is another one.
        """
        visitor = token_visitor(request)
        if visitor is None:
            return None
        if not visitor.allows(TokenScope.DICOM):
            note_refusal(request, REFUSED_SCOPE)
            raise HttpError(403, REFUSED_SCOPE)
        return visitor.actor


class AdminSession(APIKeyCookie):
    """A session. A call that is not safe needs the CSRF token and comes from a page of this site."""

    param_name = SESSION_COOKIE_NAME

    def __init__(self) -> None:
        super().__init__(csrf=False)  # asked of safe calls too, otherwise

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        """Return the name of the account; None without a session.

        Raises:
            HttpError: 403, a viewer, or a request that another site's page may have made.
        """
        role: Role | None = getattr(request, "role", None)
        if key is None or role is None:
            return None
        if role is not Role.ADMIN:
            note_refusal(request, "for administrators only.")
            raise HttpError(403, "Only an administrator may call this.")
        if request.method not in SAFE and not (_from_own_page(request) and _has_csrf_token(request)):
            raise HttpError(
                403, "The request has no CSRF token of its session, or does not come from a page of this site."
            )
        return request.user.get_username()


def _from_own_page(request: HttpRequest) -> bool:
    return urlsplit(request.headers.get("Origin", "")).netloc == request.get_host()


def _has_csrf_token(request: HttpRequest) -> bool:
    return check_csrf(request) is None
