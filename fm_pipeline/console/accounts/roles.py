"""The two roles: a viewer reads everything and changes nothing, an admin may do all."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import connection

from fm_pipeline.console.django_settings import PIPELINE

if TYPE_CHECKING:
    from fm_pipeline.console.accounts.models import NexusUser


class Role(StrEnum):
    """What an account may do here."""

    VIEWER = "viewer"
    ADMIN = "admin"


def role_of(user: NexusUser) -> Role | None:
    """Return the role of an account; None if it may not enter. Read anew at each request."""
    if not user.is_active:
        return None
    if user.is_staff:
        return Role.ADMIN
    group = PIPELINE.console_viewer_group
    return Role.VIEWER if group and _is_member(user.pk, group) else None


def _is_member(user_id: int, group: str) -> bool:
    schema = connection.ops.quote_name(PIPELINE.nexus_schema)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NULL", (f"{schema}.auth_user_groups",))
        if cursor.fetchone() == (True,):  # this Nexus has no groups, so nobody is in one
            return False
        cursor.execute(
            f"SELECT EXISTS (SELECT 1 FROM {schema}.auth_user_groups m JOIN {schema}.auth_group g ON g.id = m.group_id"  # noqa: S608  # a quoted name
            " WHERE m.user_id = %s AND g.name = %s)",
            (user_id, group),
        )
        return bool(cursor.fetchone() == (True,))
