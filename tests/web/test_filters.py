"""Filters: chips in words here, the contract's typed tree on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.web.contract_server import ContractServer, Scene
from tests.web.pages import NewPage, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")


def comparison(field: str, operator: str, **operand: Any) -> dict[str, Any]:
    return {"comparison": {"field": field, "operator": f"OPERATOR_{operator}", **operand}}


async def add(page: Page, field: str, operator: str, value: str = "", kind: str = "") -> None:
    await page.click("#add-filter")
    await page.fill("#filter-field", field)
    if kind:
        await page.select_option("#filter-type", kind)
    await page.select_option("#filter-operator", f"OPERATOR_{operator}")
    if kind == "bool":
        await page.select_option("#filter-value", value)
    elif value:
        await page.fill("#filter-value", value)
    await page.click("#filter-form >> text=Add")


async def asked_filter(page: Page, scene: Scene) -> Any:
    await ask(page)
    await expect(page.locator(".figures")).to_be_visible()
    return scene.asks[0]["body"].get("filter")


@pytest.mark.parametrize(
    ("given", "words", "sent"),
    [
        (("source", "EQ", "docs"), "source is docs", comparison("source", "EQ", value={"stringValue": "docs"})),
        (("page", "GE", "3.5"), "page is at least 3.5", comparison("page", "GE", value={"numberValue": 3.5})),
        (
            ("source", "IN", "a, b"),
            "source is one of a, b",
            comparison("source", "IN", values=[{"stringValue": "a"}, {"stringValue": "b"}]),
        ),
        (("owner", "EXISTS"), "owner has a value", comparison("owner", "EXISTS")),
        (
            ("public", "NE", "true", "bool"),
            "public is not yes",
            comparison("public", "NE", value={"boolValue": True}),
        ),
        (
            ("since", "LT", "2026-01-02T03:04", "time"),
            "since is below 2026-01-02T03:04",
            comparison("since", "LT", value={"timeValue": "2026-01-02T03:04:00.000Z"}),
        ),
    ],
)
async def test_a_chip_becomes_a_typed_comparison(
    page: Page, scene: Scene, given: tuple[str, ...], words: str, sent: dict[str, Any]
) -> None:
    await add(page, *given)
    await expect(page.locator(".chip")).to_have_text(words)
    assert await asked_filter(page, scene) == sent


async def test_several_chips_must_all_hold(page: Page, scene: Scene) -> None:
    await add(page, "source", "EQ", "docs")
    await add(page, "page", "LT", "9")
    parts = [
        comparison("source", "EQ", value={"stringValue": "docs"}),
        comparison("page", "LT", value={"numberValue": 9}),
    ]
    assert await asked_filter(page, scene) == {"and": {"filters": parts}}


async def test_the_collections_own_fields_bring_their_type(
    contract: ContractServer, scene: Scene, new_page: NewPage
) -> None:
    scene.fields = {"year": "FIELD_TYPE_NUMBER"}
    page = await new_page(contract.url)
    await expect(page.locator("#filter-fields option[value='year']")).to_have_count(1)
    await page.click("#add-filter")
    await page.fill("#filter-field", "year")
    await expect(page.locator("#filter-type")).to_have_value("number")
    await expect(page.locator("#filter-type")).to_be_disabled()
    await expect(page.locator("#filter-value")).to_have_attribute("type", "number")


async def test_a_filter_that_is_none_says_why(page: Page) -> None:
    await add(page, "two words", "EQ", "x")
    await expect(page.locator("#filter-error")).to_contain_text("Name a field")
    await expect(page.locator(".chip")).to_have_count(0)


async def test_a_chip_is_removed_and_the_focus_stays_near(page: Page) -> None:
    await add(page, "source", "EQ", "docs")
    await page.get_by_role("button", name="Remove filter: source is docs").press("Enter")
    await expect(page.locator(".chip")).to_have_count(0)
    await expect(page.locator("#add-filter")).to_be_focused()


async def test_a_click_on_a_document_asks_it_alone(page: Page, scene: Scene) -> None:
    await page.click(".document .row-button >> text=Consistency")
    await page.click(".document .row-button >> text=The answer cache")
    await expect(page.locator(".chip")).to_have_text(["document_id is caching.md"])
    wanted = comparison("document_id", "EQ", value={"stringValue": "caching.md"})
    assert await asked_filter(page, scene) == wanted
