"""Somebody who uses the console in a real Chromium."""

from __future__ import annotations

from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from fm_pipeline.sandbox.clinic.nexus.system import SANDBOX_PASSWORD
from fm_pipeline_tests.console.conftest import Console

DESKTOP, PHONE, SMALL_PHONE = (1280, 900), (390, 844), (360, 780)


@dataclass
class Visitor:
    """Somebody with an account in front of a screen.

    Attributes:
        clicks: from the login on.
        errors: that the browser has told, such as what the Content-Security-Policy has blocked.
    """

    page: Page
    url: str
    clicks: int = 0
    errors: list[str] = field(default_factory=list)

    def log_in(self, username: str) -> None:
        self.page.goto(f"{self.url}/")
        self.page.get_by_label("Name").fill(username)
        self.page.get_by_label("Password").fill(SANDBOX_PASSWORD)
        self.click("button", "Log in")
        expect(self.page.get_by_role("heading", name="Data management")).to_be_visible()

    def click(self, role: str, name: str) -> None:
        self.page.get_by_role(role, name=name).click()  # type: ignore[arg-type]  # a role of ARIA
        self.clicks += 1

    def serious_faults(self) -> list[str]:
        """What axe finds on this page and calls serious or critical."""
        found = Axe().run(self.page).response["violations"]
        bad = [each for each in found if each["impact"] in {"serious", "critical"}]
        return [f"{self.page.url}: {each['id']} {[node['target'] for node in each['nodes']]}" for each in bad]

    def is_wider_than_the_screen(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


def visitor(browser: Browser, console: Console, size: tuple[int, int]) -> Visitor:
    """A visitor who has not logged in."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")
    found = Visitor(context.new_page(), console.url)
    found.page.on(
        "console", lambda message: found.errors.append(message.text) if "Content Security" in message.text else None
    )
    return found
