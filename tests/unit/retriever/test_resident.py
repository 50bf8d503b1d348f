"""What a leg holds in memory never says more, or less, than the transaction that asks."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from retriever.search.embedded.database import connect
from retriever.search.embedded.dense import nearest
from retriever.search.embedded.resident import BLOCK_ROWS, ResidentRows
from retriever.search.embedded.rows import write_record
from retriever.search.embedded.schema import create, make_collection_id
from retriever.types import Comparison, Operator, Snapshot, version_of
from tests.contract.search.samples import record, scope

BLUE = scope(Snapshot("u", generation=1, high=1), filter=Comparison("team", Operator.EQ, ("blue",)))


@pytest.fixture
def path(tmp_path):
    with closing(connect(tmp_path / "store")) as connection:
        connection.execute("BEGIN")
        create(connection)
        make_collection_id(connection, "acme", "u")
        connection.execute("COMMIT")
    return tmp_path / "store"


def add(connection: sqlite3.Connection, ordinals):
    """One chunk each, all of the blue team, in one transaction; its vector holds its ordinal."""
    connection.execute("BEGIN")
    for ordinal in ordinals:
        version = version_of(1, ordinal)
        write_record(connection, 1, record(f"d{ordinal}", version, metadata={"team": "blue"}))
        vector = np.full(4, ordinal, np.float32).tobytes()
        sql = "INSERT INTO dense_rows (collection, version, position, vector) VALUES (1, ?, 0, ?)"
        connection.execute(sql, (version, vector))
    connection.execute("COMMIT")


def test_a_slow_reader_uses_its_own_rows_and_spoils_nothing_for_the_next(path):
    held = ResidentRows("dense_rows", has_vectors=True)
    with closing(connect(path)) as writer, closing(connect(path)) as slow, closing(connect(path)) as fast:
        add(writer, [0])
        slow.execute("BEGIN")
        slow.execute("SELECT count(*) FROM dense_rows").fetchone()  # its transaction begins here
        add(writer, [1, 2])
        held.view(fast, 1, scope(BLUE.snapshot))  # now three rows are held
        assert held.view(slow, 1, BLUE).visible.tolist() == [True]
        assert len(nearest(held.view(slow, 1, BLUE), np.ones(4, np.float32), limit=9)) == 1
        assert held.view(fast, 1, BLUE).visible.tolist() == [True, True, True]


def test_a_slow_reader_searches_the_rows_of_its_own_transaction(path):
    held = ResidentRows("dense_rows", has_vectors=True)
    with closing(connect(path)) as writer, closing(connect(path)) as slow, closing(connect(path)) as fast:
        add(writer, [5])
        slow.execute("BEGIN")
        slow.execute("SELECT count(*) FROM dense_rows").fetchone()  # its transaction begins here
        add(writer, [6, 7])
        held.view(fast, 1, BLUE)  # now three vectors are held
        assert nearest(held.view(slow, 1, BLUE), np.ones(4, np.float32), 10) == [(1, 20.0)]


def test_vectors_stay_in_the_order_of_their_rows_however_they_arrive(path):
    held = ResidentRows("dense_rows", has_vectors=True)
    with closing(connect(path)) as connection:
        for start, end in ((0, 1), (1, 3), (3, BLOCK_ROWS + 5), (BLOCK_ROWS + 5, BLOCK_ROWS + 6)):
            add(connection, range(start, end))
            view = held.view(connection, 1, BLUE)
            firsts = np.concatenate([block[:, 0] for block in view.blocks])
            assert firsts.tolist() == list(range(end))
            assert len(view.rows) == len(view.visible) == end


def test_what_was_forgotten_is_read_again(path):
    held = ResidentRows("dense_rows", has_vectors=True)
    with closing(connect(path)) as connection:
        add(connection, [0, 1, 2])
        held.view(connection, 1, BLUE)
        connection.execute("DELETE FROM dense_rows WHERE version = ?", (version_of(1, 1),))
        held.forget(1)
        assert [block[:, 0].tolist() for block in held.view(connection, 1, BLUE).blocks] == [[0.0, 2.0]]
