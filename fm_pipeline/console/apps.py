"""Django's registration of the console."""

from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Pages and templates; the models are in `accounts`."""

    name = "fm_pipeline.console"
    label = "console"
