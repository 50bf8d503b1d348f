"""The heads in memory are those of the file, whatever comes in between."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chassis.errors import Conflict, DeadlineExceeded
from retriever.search.embedded.database import Database, connect
from retriever.search.embedded.heads import SqliteHeads, _NewestHeads
from retriever.search.embedded.schema import create
from retriever.types import CollectionHead, Snapshot
from tests.contract.search.samples import budget

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = CollectionHead("acme", "docs", Snapshot("u1", 1, 1, (), frozenset()), "", {}, {}, NOW, NOW)


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "file.sqlite3"
    connection = connect(found)
    create(connection)
    connection.close()
    return found


@pytest.fixture
def database(path):
    opened = Database(path, reader_threads=1)
    yield opened
    opened.close()


@pytest.fixture
def heads(database):
    return SqliteHeads(database)


def next_of(head):
    return replace(head, snapshot=replace(head.snapshot, generation=head.snapshot.generation + 1))


async def of_the_file(path):
    """What a process that has just started reads."""
    database = Database(path, reader_threads=1)
    try:
        return await SqliteHeads(database).get("acme", "docs", budget=budget())
    finally:
        database.close()


def test_what_was_read_before_a_write_is_not_kept():
    newest = _NewestHeads()
    before = newest.writes
    newest.was_written(next_of(FIRST))

    newest.was_read(FIRST, since=before)

    assert newest.get("acme", "docs") == next_of(FIRST)


async def test_a_second_read_needs_no_file(heads, database):
    stored = await heads.swap(FIRST, budget=budget())
    database.close()

    assert await heads.get("acme", "docs", budget=budget()) == stored


async def test_after_a_refused_write_the_file_is_asked(heads, path):
    stored = await heads.swap(FIRST, budget=budget())
    with sqlite3.connect(path) as file:
        file.execute("UPDATE heads SET revision = revision + 7")
    file.close()

    with pytest.raises(Conflict):
        await heads.swap(next_of(stored), budget=budget())

    assert (await heads.get("acme", "docs", budget=budget())).revision == stored.revision + 7


async def test_a_removed_head_is_gone(heads):
    await heads.remove(await heads.swap(FIRST, budget=budget()), budget=budget())

    assert await heads.get("acme", "docs", budget=budget()) is None


async def test_a_write_nobody_waits_for_is_seen_whatever_became_of_it(heads, database, path):
    """The caller's time is over while its write waits for its turn, or runs, or has just been committed."""
    head = await heads.swap(FIRST, budget=budget())
    for seconds in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008) * 5:
        with suppress(DeadlineExceeded):
            await heads.swap(next_of(head), budget=budget(seconds))
        await asyncio.sleep(0.05)  # the writer's thread is done with it
        head = await heads.get("acme", "docs", budget=budget())
        assert head == await of_the_file(path)
