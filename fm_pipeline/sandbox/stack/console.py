"""`fm-pipeline serve` as a service: the console, with Dagster behind its login."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import requests

from fm_pipeline.sandbox.stack.dagster import DagsterService

LOGIN_PATH = "/login/"
CSRF_COOKIE = "fm_console_csrf"


class ConsoleService(DagsterService):
    """The site, Dagster's daemon and its code server, under their supervisor."""

    name = "console"
    ready_seconds = 300.0  # three programs start at once

    @property
    def url(self) -> str:
        """Address of the console; Dagster is below /dagster."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "fm_pipeline", "serve", "--port", str(self.port)]

    def ready(self) -> bool:
        try:
            with requests.Session() as session:
                session.trust_env = False  # ignore the user's proxy
                return session.get(self.url + LOGIN_PATH, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def log_in(self, username: str, password: str) -> requests.Session:
        """Return a session of that account; its requests come from a page of the console.

        Raises:
            requests.HTTPError: the console does not know the account or its password.
        """
        session = requests.Session()
        session.trust_env = False
        session.headers["Origin"] = self.url
        session.get(self.url + LOGIN_PATH, timeout=60)
        form = {"username": username, "password": password, "csrfmiddlewaretoken": session.cookies[CSRF_COOKIE]}
        answer = session.post(self.url + LOGIN_PATH, data=form, timeout=60, allow_redirects=False)
        if answer.status_code != 302:
            raise requests.HTTPError(f"The console refused the login of {username}: HTTP {answer.status_code}.")
        return session
