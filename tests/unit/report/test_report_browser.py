"""The report in headless Chromium: no error, no request, no sideways scroll, by keyboard, without JavaScript, dark and light."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright
from test_report_hostile import PAYLOADS, poison

from loren.report.write import write_report
from report_run import write_run
from report_sweep import write_sweep

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed; .ci/run installs it")
WIDTHS = (360, 1440)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM)
        yield found
        found.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shown")
    made = {
        "run": write_run(folder / "run", rows=60),
        "preview": write_run(folder / "preview", rows=20, preview=True),
        "sweep": write_sweep(folder / "sweep"),
        "curve": write_sweep(folder / "curve", kind="curve"),
    }
    bare = made["bare"] = write_run(folder / "bare", rows=6)
    for path in [path for path in bare.rglob("*") if path.is_file() and path.name != "config.json"]:
        path.unlink()
    for place, payload in enumerate(PAYLOADS):
        made[f"hostile {place}"] = write_run(folder / f"hostile-{place}", rows=6)
        poison(made[f"hostile {place}"], payload)
    for name, run in made.items():
        write_report(run, out=None, language="vi" if name in {"preview", "curve"} else "en", show_text=True)
    return {name: run / "report.html" for name, run in made.items()}


class Watched:
    """A page, and what it complained of or asked for."""

    def __init__(self, browser: Browser, path: Path, *, width: int = 1440, dark: bool = False, script: bool = True) -> None:
        self.faults: list[str] = []
        self._context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", java_script_enabled=script
        )
        self.page: Page = self._context.new_page()
        self.page.on("console", lambda message: self.faults.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        self.page.route("**/*", lambda route: self._route(route, path))
        self.page.goto(path.as_uri())

    def _route(self, route: Route, path: Path) -> None:
        if route.request.url == path.as_uri():
            route.continue_()
        else:
            self.faults.append(f"request: {route.request.url}")
            route.abort()

    def close(self) -> None:
        self._context.close()


NAMES = ["run", "preview", "sweep", "curve", "bare"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_quiet_and_fits(name: str, width: int, browser: Browser, reports: dict[str, Path]) -> None:
    seen = Watched(browser, reports[name], width=width)
    seen.page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    outside = seen.page.evaluate(
        """() => [...document.querySelectorAll('main *, header *, nav *')].filter(part => {
            const box = part.getBoundingClientRect();
            return box.width > 0 && box.right > innerWidth + 1 && !part.closest('.wide, pre, .skip, svg');
        }).map(part => part.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    assert seen.faults == []
    seen.close()


@pytest.mark.parametrize("place", range(len(PAYLOADS)))
def test_a_hostile_run_runs_nothing(place: int, browser: Browser, reports: dict[str, Path]) -> None:
    seen = Watched(browser, reports[f"hostile {place}"], width=360)
    seen.page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("window.__hit") is None
    assert seen.page.evaluate("document.scripts.length") == 1
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert seen.faults == []
    seen.close()


def test_the_page_reads_without_javascript(browser: Browser, reports: dict[str, Path]) -> None:
    seen = Watched(browser, reports["run"], script=False)
    assert seen.page.locator("button").count() == 0
    assert seen.page.get_by_role("heading", name="Before and after", exact=True).is_visible()
    row = seen.page.locator("details.flip").first
    inside = row.locator(".inside")
    assert not inside.is_visible()
    row.locator("summary").click()
    assert inside.is_visible()
    assert "loren generate" in inside.inner_text()
    assert seen.faults == []
    seen.close()


def test_the_keyboard_reaches_what_can_be_used(browser: Browser, reports: dict[str, Path]) -> None:
    seen = Watched(browser, reports["run"])
    reached: list[str] = []
    for _ in range(24):
        seen.page.keyboard.press("Tab")
        reached.append(seen.page.evaluate("document.activeElement.textContent.trim().split('\\n')[0]"))
    assert reached[0] == "Skip to the verdict"
    wanted = ["Light or dark", "Verdict", "Before and after", "What was not measured", "All comparisons (28)"]
    places = [next(place for place, text in enumerate(reached) if text.startswith(word[:14])) for word in wanted]
    assert places == sorted(places)
    outline = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    seen.page.keyboard.press("Enter")  # the summary at hand opens or closes
    seen.page.reload()
    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("location.hash") == "#verdict"
    assert seen.faults == []
    seen.close()


def colours(page: Page) -> tuple[str, str]:
    found: list[str] = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    return found[0], found[1]


def test_dark_and_light_follow_the_system_and_the_switch(browser: Browser, reports: dict[str, Path]) -> None:
    light, dark = (Watched(browser, reports["run"], dark=is_dark) for is_dark in (False, True))
    assert colours(light.page) == ("rgb(252, 252, 250)", "rgb(26, 30, 35)")
    assert colours(dark.page) == ("rgb(20, 23, 26)", "rgb(230, 231, 228)")
    light.page.get_by_role("button", name="Light or dark").click()
    assert colours(light.page) == colours(dark.page)
    light.page.get_by_role("button", name="Light or dark").click()
    assert colours(light.page)[0] == "rgb(252, 252, 250)"
    dark.page.emulate_media(media="print")
    assert colours(dark.page) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    assert not dark.page.locator("nav").is_visible()
    assert light.faults == dark.faults == []
    light.close()
    dark.close()


def test_a_command_can_be_copied(browser: Browser, reports: dict[str, Path]) -> None:
    seen = Watched(browser, reports["run"])
    seen.page.locator("details.flip summary").first.click()
    seen.page.locator("button.copy").first.click()
    assert "loren generate" in seen.page.evaluate("getSelection().toString()")
    assert seen.faults == []
    seen.close()
