"""The pictures in `docs/`, of a small demo that has just run: `scripts/picture`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psycopg2
from playwright.sync_api import Browser, BrowserContext, FloatRect

from fm_pipeline.definitions import defs
from fm_pipeline.sandbox.clinic.nexus.system import ADMIN, SANDBOX_PASSWORD
from fm_pipeline.sandbox.demo.demo import Demo
from fm_pipeline_tests.browser.chromium import chromium

DOCS = Path("docs")
STATE = Path(".state/picture")
SCALE = 0.1  # a full clinic looks the same and takes minutes
LIMIT_MILLISECONDS = 60_000
RUN_MILLISECONDS = 300_000  # a dry run, a reimport or a restore

# Every asset is drawn, those that were materialized are green, and the whole graph stands still inside its frame:
# then its corners, else false.
_DRAWN = """
([assets, materialized]) => {
    const boxes = [...document.querySelectorAll('[class*=minimalAssetNodeBox]')];
    const green = boxes.filter(box => box.style.cssText.includes('accent-green'));
    if (boxes.length !== assets || green.length !== materialized) return false;
    const parts = [...document.querySelectorAll('[data-svg-viewport] foreignObject > *')];
    const corners = parts.map(part => part.getBoundingClientRect());
    const frame = document.querySelector('[data-svg-viewport]').getBoundingClientRect();
    const graph = {
        left: Math.min(...corners.map(corner => corner.left)), top: Math.min(...corners.map(corner => corner.top)),
        right: Math.max(...corners.map(corner => corner.right)),
        bottom: Math.max(...corners.map(corner => corner.bottom)),
    };
    const before = window.graphBefore;
    window.graphBefore = JSON.stringify(graph);
    return before === window.graphBefore && graph.left >= frame.left && graph.top >= frame.top
        && graph.right <= frame.right && graph.bottom <= frame.bottom && graph;
}
"""
_MATERIALIZATIONS = """
{ assetOrError(assetKey: {path: ["reimport_validation"]}) { ... on Asset { assetMaterializations { timestamp } } } }
"""
_ONLY_THE_GRAPH = "#zoom-slider-container { display: none } [data-svg-viewport] { background: white !important }"


# The pictures are of no machine in particular.
_OTHER_FOLDER = """
([real, shown]) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(real, shown);
    for (const input of document.querySelectorAll('input')) input.value = input.value.replaceAll(real, shown);
}
"""


def logged_in(browser: Browser, url: str) -> BrowserContext:
    """The browser of the demo's administrator."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/login/")
    page.get_by_label("Name").fill(ADMIN)
    page.get_by_label("Password").fill(SANDBOX_PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/settings/data-management")
    page.close()
    return context


def graph(browser: BrowserContext, url: str, file: Path) -> None:
    """The global lineage, every group expanded, from top to bottom."""
    page = browser.new_page()
    page.set_viewport_size({"width": 2600, "height": 1600})
    page.set_default_timeout(LIMIT_MILLISECONDS)
    page.add_init_script("localStorage.setItem('asset-graph-direction', JSON.stringify('vertical'))")
    page.goto(f"{url}/dagster/asset-groups")
    specs = list(defs.resolve_all_asset_specs())
    for group in sorted({spec.group_name for spec in specs if spec.group_name}):
        page.get_by_text(group, exact=True).first.wait_for()
    page.keyboard.press("Alt+KeyE")  # expands all groups
    materializable = len(defs.resolve_asset_graph().materializable_asset_keys)
    page.locator("[class*=minimalAssetNodeBox]").nth(len(specs) - 1).wait_for()
    page.locator("[data-svg-viewport]").dblclick(position={"x": 20, "y": 1300})  # fits it into the frame
    drawn = page.wait_for_function(_DRAWN, arg=[len(specs), materializable], polling=200).json_value()
    margin = 16
    clip: FloatRect = {
        "x": drawn["left"] - margin,
        "y": drawn["top"] - margin,
        "width": drawn["right"] - drawn["left"] + 2 * margin,
        "height": drawn["bottom"] - drawn["top"] + 2 * margin,
    }
    page.screenshot(path=file, clip=clip, style=_ONLY_THE_GRAPH, animations="disabled")
    page.close()


def report(browser: BrowserContext, url: str, file: Path) -> None:
    """The report of the first reimport, opened on the page of its last asset; the demo's later one changes little."""
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 1020})
    page.set_default_timeout(LIMIT_MILLISECONDS)
    answer = page.request.post(
        f"{url}/dagster/graphql", data={"query": _MATERIALIZATIONS}, headers={"Origin": url}
    ).json()
    newest_first = answer["data"]["assetOrError"]["assetMaterializations"]
    page.goto(f"{url}/dagster/assets/reimport_validation?view=events&time={newest_first[-1]['timestamp']}")
    page.get_by_text("[Show Markdown]").click()
    page.get_by_role("dialog").get_by_text("nothing_else_written").wait_for()
    page.screenshot(path=file, animations="disabled")
    page.close()


def images(browser: BrowserContext, url: str, file: Path) -> None:
    """What the link says of itself, and the charts of all images."""
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 1480})
    page.set_default_timeout(LIMIT_MILLISECONDS)
    page.goto(f"{url}/dagster/assets/linked_images")
    for text in ("Images linked:", "images_by_category"):
        page.get_by_text(text).first.wait_for()
    page.get_by_text("images_by_category").first.scroll_into_view_if_needed()
    page.screenshot(path=file, animations="disabled")
    page.close()


def console(browser: BrowserContext, url: str, folder: Path) -> None:
    """Pages of the console: today's data, the plan, the imports of DICOM files."""
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.set_default_timeout(LIMIT_MILLISECONDS)
    page.goto(f"{url}/settings/data-management")
    page.get_by_text("Connected").first.wait_for()
    page.screenshot(path=folder / "console.png", full_page=True, animations="disabled")
    page.get_by_role("link", name="Read the newest plan").click()
    page.get_by_role("heading", level=1).wait_for()
    page.screenshot(path=folder / "console-plan.png", animations="disabled")
    page.goto(f"{url}/settings/dicom")
    page.get_by_role("heading", name="DICOM", level=1).wait_for()
    page.evaluate(_OTHER_FOLDER, [str(STATE.absolute()), "/srv"])
    page.screenshot(path=folder / "console-dicom.png", full_page=True, animations="disabled")
    page.close()


# What people have done in Nexus since the demo's reimport, so that a plan has something to show.
_EDITS = """
INSERT INTO notes SELECT (jsonb_populate_record(n, jsonb_build_object('id', gen_random_uuid(), 'content', 'Phoned.'))).*
    FROM notes n ORDER BY id LIMIT 12;
DELETE FROM sms_messages WHERE id IN (SELECT id FROM sms_messages ORDER BY id LIMIT 5);
"""


def administrator(browser: BrowserContext, url: str, folder: Path) -> None:
    """The steps of docs/administrator.md: plan, confirmation, run, dry run of a restore, hospital's directory."""
    with psycopg2.connect(os.environ["NEXUS_DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(_EDITS)
    connection.close()
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.set_default_timeout(RUN_MILLISECONDS)

    def picture(name: str, *, whole: bool = False) -> None:
        page.evaluate(_OTHER_FOLDER, [str(STATE.absolute()), "/srv"])
        page.screenshot(path=folder / f"administrator-{name}.png", full_page=whole, animations="disabled")

    page.goto(f"{url}/settings/data-management")
    page.get_by_role("button", name="Dry Run Preview").click()
    page.get_by_role("heading", name="What would be lost").wait_for()
    picture("plan")
    page.get_by_role("link", name="Full Reimport").click()
    page.evaluate(_OTHER_FOLDER, [str(STATE.absolute()), "/srv"])
    page.locator("#confirmation").screenshot(path=folder / "administrator-confirm.png", animations="disabled")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.locator("#confirm").fill(page.locator("label.confirm .words").inner_text())
    page.get_by_role("button", name="Reimport, and delete").click()
    page.get_by_role("heading", name="Result").wait_for()
    page.get_by_text("Ended", exact=True).wait_for()
    page.reload()  # ended, so that nothing moves
    picture("run")
    page.goto(f"{url}/settings/backups/")
    page.locator("table a").first.click()
    page.get_by_role("button", name="Dry run of the restore").click()
    page.get_by_role("link", name="Go on with the restore").wait_for()
    page.get_by_text("Ended", exact=True).wait_for()
    page.reload()
    picture("restore")
    page.goto(f"{url}/settings/dicom/configuration")
    page.get_by_role("heading", level=1).wait_for()
    picture("dicom")
    page.close()


def main() -> None:
    """Run a demo and write the pictures."""
    with chromium() as browser:
        if browser is None:
            sys.exit("No Chromium was found (on Debian: apt-get install chromium fonts-noto-color-emoji).")
        with Demo(STATE, scale=SCALE, port=None) as demo:
            if not demo.run():
                sys.exit("The demo did not hold, so there is nothing to show.")
            visitor = logged_in(browser, demo.url)
            graph(visitor, demo.url, DOCS / "graph.png")
            report(visitor, demo.url, DOCS / "report.png")
            images(visitor, demo.url, DOCS / "images.png")
            console(visitor, demo.url, DOCS)
            administrator(visitor, demo.url, DOCS)


if __name__ == "__main__":
    main()
