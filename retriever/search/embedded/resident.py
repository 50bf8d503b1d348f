"""What a leg keeps in memory of a collection, so that a search reads the file only for its winners.

Rule 1: everything here only grows at its end, with the file's rows in their order, or is dropped whole and read again
        (after a purge). Arrays are never written to once they are shared, so a search goes on without the lock.
Rule 2: a version's readers and metadata never change, so which rows a (groups, filter) allows never changes either: it
        is asked of the file once and only extended. What changes is the snapshot: arithmetic on versions.
Rule 3: a reader whose transaction is older than what is held uses only the rows its transaction has; it could not say
        which of the newer ones are allowed. Rows come in the order they were committed in, so that is a prefix.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedding.ports import FloatArray
from retriever.search.embedded.schema import Clause, readable_by
from retriever.search.embedded.sql_filter import compile_filter, names_chunk_fields
from retriever.types import VERSION_BITS, Filter, Scope, Snapshot

BLOCK_ROWS: Final = 4_096  # 6 MiB of 384 dimensions: what growing by a row may copy at most
MAX_MASKS: Final = 128  # (groups, filter) pairs kept a collection, a byte a row each
MAX_RESIDENT_BYTES: Final = 512 << 20  # collections over this are dropped, least recently searched first

IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]


class View(NamedTuple):
    """A collection's rows at one moment, in file order, and which of them a scope may see."""

    rows: IntArray
    visible: Mask
    blocks: tuple[FloatArray, ...]


def visible_versions(versions: IntArray, snapshot: Snapshot) -> Mask:
    """`Snapshot.sees` for an array of versions."""
    born = versions >> VERSION_BITS
    seen: Mask = born <= snapshot.high
    if snapshot.excluded:
        first, last = np.array(snapshot.excluded, dtype=np.int64).T
        at = np.searchsorted(first, born, side="right") - 1
        seen &= ~((at >= 0) & (born <= last[at]))
    if snapshot.dead:
        seen &= ~np.isin(versions, np.fromiter(snapshot.dead, np.int64, len(snapshot.dead)))
    return seen


@dataclass(slots=True)
class _Collection:
    rows: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    versions: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    blocks: tuple[FloatArray, ...] = ()
    masks: OrderedDict[tuple[tuple[str, ...], Filter], Mask] = field(default_factory=OrderedDict)
    seen: tuple[Snapshot, Mask] | None = None  # of the last snapshot
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def size_bytes(self) -> int:
        return self.rows.nbytes + self.versions.nbytes + sum(block.nbytes for block in self.blocks)


class ResidentRows:
    """The rows of one leg's table, by collection."""

    def __init__(self, table: str, *, has_vectors: bool) -> None:
        self._table = table
        self.has_vectors = has_vectors
        self._collections: OrderedDict[int, _Collection] = OrderedDict()
        self._lock = threading.Lock()

    def view(self, connection: sqlite3.Connection, collection: int, scope: Scope) -> View:
        """The rows the connection's read transaction sees, and which of them are in scope."""
        held = self._held(collection)
        with held.lock:
            count = self._catch_up(connection, collection, held)
            allowed = self._allowed(connection, held, scope, Clause("r.collection = ?", (collection,)), count=count)
            seen = _seen(held, scope.snapshot)
            rows, blocks = held.rows, held.blocks
        return View(rows[:count], allowed[:count] & seen[:count], blocks)

    def forget(self, collection: int) -> None:
        """Drop what is held: rows were deleted from the file."""
        with self._lock:
            self._collections.pop(collection, None)

    def _held(self, collection: int) -> _Collection:
        with self._lock:
            held = self._collections.setdefault(collection, _Collection())
            self._collections.move_to_end(collection)
            spare = sum(each.size_bytes for each in self._collections.values()) - MAX_RESIDENT_BYTES
            while spare > 0 and len(self._collections) > 1:
                spare -= self._collections.popitem(last=False)[1].size_bytes
            return held

    def _catch_up(self, connection: sqlite3.Connection, collection: int, held: _Collection) -> int:
        """Read the rows that are newer than the last one held; returns how many of the held ones the reader sees."""
        last = int(held.rows[-1]) if len(held.rows) else 0
        columns = "row, version, vector" if self.has_vectors else "row, version"
        sql = f"SELECT {columns} FROM {self._table} WHERE collection = ? AND row > ? ORDER BY row"  # noqa: S608  # constants
        cursor = connection.execute(sql, (collection, last))
        while batch := cursor.fetchmany(BLOCK_ROWS):
            held.rows = np.concatenate([held.rows, np.array([row[0] for row in batch], np.int64)])
            held.versions = np.concatenate([held.versions, np.array([row[1] for row in batch], np.int64)])
            if self.has_vectors:
                joined = np.frombuffer(b"".join(row[2] for row in batch), np.float32)
                held.blocks = _grown(held.blocks, joined.reshape(len(batch), -1))
        sql = f"SELECT max(row) FROM {self._table} WHERE collection = ?"  # noqa: S608  # constants
        (newest,) = connection.execute(sql, (collection,)).fetchone()
        return int(np.searchsorted(held.rows, newest or 0, side="right"))

    def _allowed(
        self, connection: sqlite3.Connection, held: _Collection, scope: Scope, inside: Clause, *, count: int
    ) -> Mask:
        """Which of the first `count` rows the groups and the filter allow; asks only for those not asked before."""
        key = (scope.groups, scope.filter)
        known = held.masks.pop(key, np.empty(0, np.bool_))
        if len(known) < count:
            fresh = slice(len(known), count)
            wanted = self._wanted(scope, inside, after=int(held.rows[fresh.start]) - 1)
            found = np.fromiter((row[0] for row in connection.execute(*wanted)), np.int64)
            tested = held.rows if names_chunk_fields(scope.filter) else held.versions
            known = np.concatenate([known, np.isin(tested[fresh], found)])
        held.masks[key] = known
        if len(held.masks) > MAX_MASKS:
            held.masks.popitem(last=False)
        return known

    def _wanted(self, scope: Scope, inside: Clause, *, after: int) -> Clause:
        """Asks for allowed rows; or, as a document's chunks mostly share its answer, for allowed versions."""
        allowed = _condition(scope)
        rows = f"FROM {self._table} r"
        if names_chunk_fields(scope.filter):
            sql = (
                f"SELECT r.row {rows} "  # names from constants
                "JOIN versions v ON (v.collection, v.version) = (r.collection, r.version) "
                "JOIN chunks c ON (c.collection, c.version, c.position) = (r.collection, r.version, r.position) "
                f"WHERE {inside.sql} AND r.row > ? AND {allowed.sql}"
            )
        else:
            sql = (
                f"SELECT v.version FROM (SELECT DISTINCT r.collection, r.version {rows} "  # noqa: S608  # constants
                f"WHERE {inside.sql} AND r.row > ?) r "
                "JOIN versions v ON (v.collection, v.version) = (r.collection, r.version) "
                f"WHERE {allowed.sql}"
            )
        return Clause(sql, (*inside.params, after, *allowed.params))


def _condition(scope: Scope) -> Clause:
    readable, matching = readable_by(scope.groups), compile_filter(scope.filter)
    return Clause(f"{readable.sql} AND {matching.sql}", (*readable.params, *matching.params))


def _seen(held: _Collection, snapshot: Snapshot) -> Mask:
    if held.seen is None or len(held.seen[1]) != len(held.rows) or held.seen[0] != snapshot:
        held.seen = (snapshot, visible_versions(held.versions, snapshot))
    return held.seen[1]


def _grown(blocks: tuple[FloatArray, ...], fresh: FloatArray) -> tuple[FloatArray, ...]:
    if blocks and len(blocks[-1]) + len(fresh) <= BLOCK_ROWS:
        return (*blocks[:-1], np.concatenate([blocks[-1], fresh]))
    return (*blocks, fresh)
