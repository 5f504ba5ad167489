"""A real browser, Debian's Chromium, which says everything that a page does."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, ViewportSize, expect, sync_playwright

PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
"""Root has no sandbox; the rest keeps it from asking its maker for anything."""

WATCH = """addEventListener("securitypolicyviolation",
    (one) => console.error(`refused: ${one.violatedDirective} ${one.blockedURI}`))"""


@dataclass
class Visit:
    """One page in a browser, and what it did."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of its console, scripts that failed, what its policy refused, dialogs."""
    requests: list[str] = field(default_factory=list)
    """Whatever was not in the page itself."""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.add_init_script(WATCH)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._see)
        self.page.on("dialog", self._dismiss)

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return self.page.locator(selector).count()

    @property
    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        found: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return found

    @property
    def barriers(self) -> list[str]:
        """What axe-core finds that keeps people out (WCAG 2.2 AA and good practice), with the first place of each."""
        found = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}" for one in found]

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.complaints.append(said.text)

    def _see(self, asked: Request) -> None:
        if not asked.url.startswith("data:"):
            self.requests.append(asked.url)

    def _dismiss(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it, or skip the test. Not for a whole session: its event loop is in the way of async tests."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("it needs Chromium (Debian's package chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser: Browser, url: str, *, viewport: ViewportSize = DESKTOP, **options: Any) -> Iterator[Visit]:  # noqa: ANN401
    """Open a page; `options`: as Playwright's `new_context` has them."""
    context = browser.new_context(viewport=viewport, **options)
    try:
        found = Visit(context.new_page())
        reply = found.page.goto(url)
        assert reply is not None
        assert reply.ok, reply.text()
        yield found
    finally:
        context.close()
