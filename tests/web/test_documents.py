"""The library: files in, documents out, each with its own result."""

from __future__ import annotations

import pytest
from playwright.async_api import FilePayload, Page, expect

from chassis.errors import DocumentUnreadable
from tests.web.contract_server import ContractServer, Scene
from tests.web.pages import NewPage

pytestmark = pytest.mark.asyncio(loop_scope="session")


def file(name: str, content: bytes = b"# Leave\n\nThirty days.") -> FilePayload:
    return {"name": name, "mimeType": "text/markdown", "buffer": content}


async def test_each_file_gets_its_own_result(page: Page, scene: Scene) -> None:
    scene.refused_files["broken.pdf"] = DocumentUnreadable("not a PDF")
    await page.set_input_files("#files", [file("leave.md"), file("broken.pdf", b"no pdf")])
    await expect(page.locator(".uploads li[data-state=done]")).to_contain_text("Stored, 2 chunks")
    await expect(page.locator(".uploads li[data-state=failed]")).to_contain_text("The file is not what its name says.")
    await expect(page.locator(".library-summary")).to_have_text("3 documents")
    assert scene.put == {"leave.md": b"# Leave\n\nThirty days."}


async def test_files_are_labelled_with_their_source(page: Page, scene: Scene) -> None:
    await page.click("text=Label them")
    await page.fill("#upload-source", "handbook & rules")
    await page.set_input_files("#files", [file("leave.md")])
    await expect(page.locator(".group-name")).to_have_text(["docs", "handbook & rules"])
    assert scene.put_queries == {"leave.md": {"source": "handbook & rules"}}


async def test_the_progress_of_a_file_is_shown(page: Page) -> None:
    seen = await page.evaluate(
        """async () => {
          const { putFile } = await import("/api.js");
          const seen = [];
          const big = new File(["a".repeat(3_000_000)], "big.txt");
          await putFile("docs", "big.txt", big, { onProgress: (sent, total) => seen.push(sent / total) });
          return seen;
        }"""
    )
    assert seen[-1] == 1


async def test_files_can_be_dropped(page: Page, scene: Scene) -> None:
    dropped = await page.evaluate_handle(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["# One"], "one.md"));
          transfer.items.add(new File(["# Two"], "folder note.md"));
          return transfer;
        }"""
    )
    await page.dispatch_event(".drop", "drop", {"dataTransfer": dropped})
    await expect(page.locator(".uploads li[data-state=done]")).to_have_count(2)
    assert sorted(scene.put) == ["folder note.md", "one.md"]


async def test_documents_are_grouped_and_counted(contract: ContractServer, scene: Scene, new_page: NewPage) -> None:
    scene.store("a.md", "text", source="handbook", chunk_count=3)
    scene.store("b.md", "text")
    page = await new_page(contract.url)
    await expect(page.locator(".group > summary")).to_have_text(
        ["docs2 · 12 chunks", "handbook1 · 3 chunks", "No source1 · 1 chunk"]
    )


async def test_a_large_collection_is_loaded_page_by_page(
    contract: ContractServer, scene: Scene, new_page: NewPage
) -> None:
    scene.page_size = 1
    page = await new_page(contract.url)
    await expect(page.locator(".library-summary")).to_have_text("1 of 2 documents loaded")
    await page.click("text=Load more")
    await expect(page.locator(".document")).to_have_count(2)
    await expect(page.locator(".library-summary")).to_have_text("2 documents")


async def test_search_narrows_the_list(page: Page) -> None:
    await page.fill("#document-search", "consist")
    await expect(page.locator(".document .row-title")).to_have_text(["Consistency"])
    await expect(page.locator(".library-summary")).to_have_text("1 found in 2 documents")


async def test_a_document_is_deleted_after_a_confirmation(page: Page, scene: Scene) -> None:
    await page.get_by_role("button", name="Delete: Consistency").click()
    await page.click("dialog >> text=Cancel")
    assert scene.deleted == []
    await page.get_by_role("button", name="Delete: Consistency").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.locator(".document .row-title")).to_have_text(["The answer cache"])
    assert scene.deleted == ["consistency.md"]


async def test_a_document_can_be_read(page: Page, scene: Scene) -> None:
    scene.documents["consistency.md"].text = "# Consistency\n\nNo reader ever sees half a write."
    await page.get_by_role("button", name="Read: Consistency").click()
    await expect(page.locator("dialog .document-text")).to_contain_text("No reader ever sees half a write.")


async def test_a_collection_that_is_not_there_yet_can_be_named(page: Page, scene: Scene) -> None:
    await page.select_option("#collection", label="New collection")
    await page.fill("#collection-name", "Not a name")
    await page.keyboard.press("Enter")
    await expect(page.locator("#collection-name")).to_have_attribute("aria-invalid", "true")
    await page.fill("#collection-name", "handbook")
    await page.keyboard.press("Enter")
    await expect(page.locator("#collection option:checked")).to_have_text("handbook (new)")
    await page.reload()
    await expect(page.locator("#collection")).to_have_value("handbook")
