"""The embedded full-text table: a version is one with or without its v; tables made before the third column go on."""

from __future__ import annotations

import sqlite3

from retriever.ingest.ledger import new_head
from retriever.search.embedded import FILE_NAME
from retriever.types import Snapshot, version_of
from tests.contract.search.clusters import open_alone
from tests.contract.search.samples import TENANT, WHEN, budget, by_id, scope, vectors_of, written

UID = "uid-1"
SEEN = Snapshot(UID, generation=2, high=2)


async def put(leaves, document):
    await leaves.lexical.write(TENANT, UID, [document], vectors_of([document]), budget=budget())


def make_old(file):
    """The table as it was made then, filled from the rows."""
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE words_1")
        connection.execute("CREATE VIRTUAL TABLE words_1 USING fts5 (heading, text, content = '', tokenize = 'porter')")
        rows = connection.execute(
            "SELECT r.row, c.heading, c.text FROM lexical_rows r JOIN chunks c USING (collection, version, position)"
        )
        connection.executemany("INSERT INTO words_1 (rowid, heading, text) VALUES (?, ?, ?)", rows.fetchall())
    connection.close()


async def test_an_old_table_is_written_searched_and_purged_as_before(tmp_path):
    async with open_alone(tmp_path) as leaves:
        await put(leaves, written("old", 1, 0, ["word 冷却水"]))
        await leaves.heads.swap(new_head(TENANT, "c", uid=UID, embedder_fingerprint="e", now=WHEN), budget=budget())
    make_old(tmp_path / FILE_NAME)
    async with open_alone(tmp_path) as leaves:
        await put(leaves, written("new", 2, 0, ["word 保修期"]))
        assert sorted(by_id(await leaves.lexical.search("word", scope(SEEN), 5, budget=budget()))) == ["new", "old"]
        assert await leaves.lexical.purge(TENANT, UID, [version_of(1, 0)], budget=budget()) == 0
        assert by_id(await leaves.lexical.search("word", scope(SEEN), 5, budget=budget())) == ["new"]
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("INSERT INTO words_1 (words_1) VALUES ('integrity-check')")
        assert connection.execute("SELECT count(*) FROM words_1 WHERE words_1 MATCH '冷却水'").fetchone() == (0,)
    connection.close()


async def test_a_version_with_a_v_is_the_version(tmp_path):
    async with open_alone(tmp_path) as leaves:
        await put(leaves, written("notes", 1, 0, ["Notes of v4.2.0, the word."]))
        await put(leaves, written("other", 1, 1, ["Notes: 4 parts, 2 left, 0 lost."]))
        for query in ("4.2.0", "v4.2.0", "V4.2"):
            assert by_id(await leaves.lexical.search(query, scope(SEEN), 5, budget=budget())) == ["notes"]
        assert await leaves.lexical.purge(TENANT, UID, [version_of(1, 0)], budget=budget()) == 0
        assert await leaves.lexical.search("4.2.0", scope(SEEN), 5, budget=budget()) == []
