"""Django's registration of this package."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """`accounts.NexusUser` is the user model."""

    name = "fm_pipeline.console.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Record logins, and follow sessions."""
        from fm_pipeline.console.accounts import login_audit, sessions  # noqa: PLC0415  # need the models

        login_audit.connect()
        sessions.connect()
