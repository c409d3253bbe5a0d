"""Django's registration of this package."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """`accounts.NexusUser` is the user model."""

    name = "fm_pipeline.console.accounts"
    label = "accounts"
