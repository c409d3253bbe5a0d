"""Django's registration of this package."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """`accounts.NexusUser` is the user model."""

    name = "fm_pipeline.console.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Record logins."""
        from fm_pipeline.console.accounts import login_audit  # noqa: PLC0415  # needs the models

        login_audit.connect()
