"""A browser, and pages in it that fail their test when the content security policy or a script complains.

Everything runs in one event loop of the session: the browser's driver, the scripted server and the tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.rig import chromium_path
from tests.web.contract_server import ContractServer, Scene, contract_server, demo_scene
from tests.web.pages import DESKTOP, NewPage

# A sandbox, a GPU and background traffic: what a container has not, and a test must not have.
BROWSER_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 15_000  # shared machines stall for seconds

# Reported to the page itself by the browser, whatever the page does.
WATCH_POLICY = """
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = chromium_path()
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=BROWSER_ARGS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def contract() -> AsyncIterator[ContractServer]:
    async with contract_server() as server:
        yield server


@pytest.fixture
def scene(contract: ContractServer) -> Scene:
    """What the services say; a test changes it before it asks."""
    contract.scene = demo_scene()
    return contract.scene


class WatchedPage:
    """A page in a browser profile of its own, and what it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._complaints: list[str] = []
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        page.on("console", self._note)

    @classmethod
    async def opened(cls, browser: Browser, **options: Any) -> WatchedPage:
        context = await browser.new_context(**{"viewport": DESKTOP, **options})
        context.set_default_timeout(PATIENCE_MS)
        await context.add_init_script(WATCH_POLICY)
        return cls(await context.new_page())

    async def complaints(self) -> list[str]:
        """Since the last call."""
        found = [*self._complaints, *await self.page.evaluate("window.violations ?? []")]
        self._complaints.clear()
        return found

    async def forget(self, url: str) -> None:
        """Leave the page at `url` and everything it stored: the next one at that address begins as a first visit."""
        await self.page.mouse.move(0, 0)
        await self.page.goto(f"{url}/favicon.svg")  # of the same origin, and without a script that might store again
        await self.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        await self.page.context.clear_cookies()

    def _note(self, message: ConsoleMessage) -> None:
        # The browser itself reports every HTTP status over 399 as an error; those are the tests' own doing.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self._complaints.append(message.text)


@pytest_asyncio.fixture(loop_scope="session")
async def new_page(browser: Browser) -> AsyncIterator[NewPage]:
    """Opens a page in a browser profile of its own; at the end no page may have complained."""
    pages: list[WatchedPage] = []

    async def opened(url: str, **options: Any) -> Page:
        watched = await WatchedPage.opened(browser, **options)
        pages.append(watched)
        await watched.page.goto(url)
        return watched.page

    yield opened
    complaints = [complaint for watched in pages for complaint in await watched.complaints()]
    for watched in pages:
        await watched.page.context.close()
    assert complaints == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kept_page(browser: Browser) -> WatchedPage:
    """One page for all tests that need nothing special of it: a new one costs a process each time.

    Its time zone is UTC, wherever the tests run.
    """
    return await WatchedPage.opened(browser, timezone_id="UTC")


@pytest_asyncio.fixture(loop_scope="session")
async def page(contract: ContractServer, scene: Scene, kept_page: WatchedPage) -> AsyncIterator[Page]:
    """The page on a desktop, with the demo scene behind it."""
    await kept_page.page.goto(contract.url)
    await expect(kept_page.page.locator("#connection")).to_have_text("Connected")
    yield kept_page.page
    complaints = await kept_page.complaints()
    await kept_page.forget(contract.url)
    assert complaints == []
