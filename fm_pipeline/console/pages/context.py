"""What every template may use."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.navigation import menu
from fm_pipeline.console.overdue import overdue


def shared(request: HttpRequest) -> dict[str, Any]:
    """Return the menu, the role, the support contact and what is overdue, which is read if it is shown.

    Hiding a button refuses nothing; `RoleMiddleware` does.
    """
    role = getattr(request, "role", None)
    return {
        "role": role,
        "is_admin": role == "admin",
        "menu": menu(request.path),
        "zone": PIPELINE.clinic_time_zone,
        "support_contact": PIPELINE.support_contact,
        "overdue_sentences": overdue.read,
    }
