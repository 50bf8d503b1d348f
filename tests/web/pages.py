"""What the tests do with a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from playwright.async_api import Page

SHOTS = Path(__file__).parent / "shots"  # not committed: looked at, and thrown away
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 740}

NewPage = Callable[..., Awaitable[Page]]
"""Opens a URL in a browser profile of its own; keywords are Playwright's context options."""


async def ask(page: Page, question: str = "Why is a cached answer never stale?") -> None:
    await page.fill("#question", question)
    await page.press("#question", "Enter")


async def shot(page: Page, name: str, *, full: bool = True) -> None:
    """A picture to look at."""
    SHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SHOTS / f"{name}.png", full_page=full)
