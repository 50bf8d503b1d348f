"""The data folder: held by one process, full, damaged. Typed errors that say what to do, and nothing half visible."""

from __future__ import annotations

import asyncio

import pytest

from chassis.errors import BackendUnavailable, CatalogueUnavailable, DataFolderLocked, StorageFull
from retriever.ingest.commit import Committer, Stores
from retriever.search.embedded import FILE_NAME, open_embedded
from retriever.types import PutResult
from tests.contract.search.samples import TENANT, budget, prepared, scope, texts_by_id, unit
from tests.faults.ingesting import COLLECTION


async def visible(store):
    head = await store.heads.get(TENANT, COLLECTION, budget=budget())
    within = scope(head.snapshot)
    dense = texts_by_id(await store.dense.search(unit(1.0), within, 10_000, budget=budget()))
    lexical = texts_by_id(await store.lexical.search("word", within, 10_000, budget=budget()))
    assert dense == lexical
    return set(dense)


async def open_and_close(folder):
    async with open_embedded(folder):
        pass


def test_a_second_process_is_refused_until_the_first_is_dead(nursery, tmp_path):
    nursery.start("hold", tmp_path)
    assert nursery.line() == "open"
    with pytest.raises(DataFolderLocked) as caught:
        asyncio.run(open_and_close(tmp_path))
    assert str(tmp_path) not in caught.value.message
    nursery.kill()
    asyncio.run(open_and_close(tmp_path))


async def test_the_same_process_cannot_open_it_twice_either(tmp_path):
    async with open_embedded(tmp_path):
        with pytest.raises(DataFolderLocked):
            await open_and_close(tmp_path)
    await open_and_close(tmp_path)


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageFull) as caught:
        asyncio.run(open_and_close(tmp_path / "file" / "data"))
    assert str(tmp_path) not in caught.value.message


def test_a_disk_that_refuses_writes_keeps_what_was_acknowledged(nursery, tmp_path):
    """RLIMIT_FSIZE makes write(2) fail, as a full disk does, for the log and the file alike."""
    lines = nursery.start("full", tmp_path).rest()
    acknowledged = {line.split()[1] for line in lines if line.startswith("ack")}
    refused = {line.split()[1] for line in lines if line.startswith("full")}
    assert acknowledged
    assert refused

    async def reopened():
        async with open_embedded(tmp_path) as store:
            return await visible(store)

    assert asyncio.run(reopened()) == acknowledged


async def test_a_full_store_refuses_writes_serves_reads_and_goes_on_when_there_is_room(tmp_path):
    async with (
        open_embedded(tmp_path) as store,
        Committer(Stores(store.heads, store.records, store.dense, store.lexical), owner="me") as committer,
    ):

        async def put(name):
            return await committer.put(TENANT, COLLECTION, prepared(name, ["word " * 2_000]), budget=budget())

        await put("first")
        await _limit_pages(store, beyond=20)
        stored = {"first"}
        results = [await _outcome(put(f"d{n}")) for n in range(30)]
        assert set(map(type, results)) == {PutResult, StorageFull}
        stored |= {f"d{n}" for n, result in enumerate(results) if isinstance(result, PutResult)}
        assert await visible(store) == stored
        await _limit_pages(store, beyond=100_000)
        await put("last")
        assert await visible(store) == {*stored, "last"}


async def _outcome(work):
    try:
        return await work
    except StorageFull as full:
        return full


async def _limit_pages(store, *, beyond):
    """Let the file grow by so many pages and no more."""

    def work(connection):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + beyond}")

    await store.dense._database.write(work, failure=CatalogueUnavailable, place="test", budget=budget())


def test_a_file_that_is_no_database_is_refused_without_naming_it(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"this is not a database at all " * 1_000)
    with pytest.raises(CatalogueUnavailable) as caught:
        asyncio.run(open_and_close(tmp_path))
    assert str(tmp_path) not in caught.value.message
    assert "damaged" in caught.value.message


async def test_a_damaged_file_fails_with_typed_errors(tmp_path):
    async with (
        open_embedded(tmp_path) as store,
        Committer(Stores(store.heads, store.records, store.dense, store.lexical), owner="me") as committer,
    ):
        for n in range(50):
            await committer.put(TENANT, COLLECTION, prepared(f"d{n}", ["word " * 500]), budget=budget())
        head = await store.heads.get(TENANT, COLLECTION, budget=budget())
    assert head is not None
    file = tmp_path / FILE_NAME
    size = file.stat().st_size
    with file.open("r+b") as damaged:
        damaged.seek(size // 4)
        damaged.write(b"\xa5" * (size // 2))

    async def use():
        async with open_embedded(tmp_path) as store:
            within = scope(head.snapshot)
            await store.dense.search(unit(1.0), within, 1_000, budget=budget())
            await store.lexical.search("word", within, 1_000, budget=budget())
            await store.records.page(within, after="", limit=1_000, budget=budget())

    with pytest.raises(BackendUnavailable):
        await use()
