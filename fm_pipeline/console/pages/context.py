"""What every template may use."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from fm_pipeline.console.navigation import menu


def shared(request: HttpRequest) -> dict[str, Any]:
    """Return the menu and the role. Hiding a button refuses nothing; `RoleMiddleware` does."""
    role = getattr(request, "role", None)
    return {"role": role, "is_admin": role == "admin", "menu": menu(request)}
