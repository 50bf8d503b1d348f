"""Snapshot arithmetic: what readers see follows from the head's changes and from nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retriever.ingest.ledger import (
    Ranges,
    aborted,
    aborted_ranges,
    committed,
    new_head,
    opened,
    purged,
    with_number,
    without_number,
)
from retriever.search.embedded.resident import visible_versions
from retriever.types import Snapshot, born_of, version_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = new_head("t", "c", uid="u", embedder_fingerprint="", now=NOW)
NUMBERS = st.sets(st.integers(1, 40))


def numbers_in(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}


def ranges_of(numbers):
    ranges: Ranges = ()
    for number in numbers:
        ranges = with_number(ranges, number)
    return ranges


@given(NUMBERS, st.integers(1, 40))
def test_ranges_are_sets_of_numbers_sorted_and_merged(numbers, one):
    ranges = ranges_of(numbers)
    assert numbers_in(ranges) == numbers
    assert numbers_in(with_number(ranges, one)) == numbers | {one}
    assert numbers_in(without_number(ranges, one)) == numbers - {one}
    assert all(earlier[1] + 1 < later[0] for earlier, later in pairwise(ranges))


@given(NUMBERS, st.sets(st.integers(0, 45 << 16)), st.integers(0, 45), st.lists(st.integers(0, 45 << 16), max_size=60))
def test_the_array_form_of_visibility_is_the_snapshots(excluded, dead, high, versions):
    snapshot = Snapshot("u", high=high, excluded=ranges_of(excluded), dead=frozenset(dead))
    seen = visible_versions(np.array(versions, np.int64), snapshot)
    assert seen.tolist() == [snapshot.sees(version) for version in versions]


def test_opening_shows_readers_nothing_and_takes_a_new_number():
    head, number = opened(EMPTY, "me")
    assert number == 1
    assert head.open_numbers == {1: "me"}
    assert not head.snapshot.sees(version_of(1, 0))
    assert head.snapshot.generation == 0


def test_a_commit_shows_all_of_its_number_and_hides_what_it_replaces_at_once():
    first, number = opened(EMPTY, "me")
    head = committed(first, number, dead=(), fields={}, now=NOW)
    second, number = opened(head, "me")
    after = committed(second, number, dead=[version_of(1, 3)], fields={}, now=NOW)
    seen = [
        version for version in (version_of(1, 2), version_of(1, 3), version_of(2, 0)) if after.snapshot.sees(version)
    ]
    assert seen == [version_of(1, 2), version_of(2, 0)]
    assert (after.snapshot.generation, after.open_numbers) == (2, {})


def test_an_aborted_number_is_never_given_out_again_and_stays_invisible():
    head, number = opened(EMPTY, "me")
    head = aborted(head, {number})
    head, later = opened(head, "me")
    head = committed(head, later, dead=(), fields={}, now=NOW)
    assert later == number + 1
    assert not head.snapshot.sees(version_of(number, 0))
    assert aborted_ranges(head) == ((1, 1),)


def test_open_numbers_are_not_garbage():
    head, first = opened(EMPTY, "me")
    head, _ = opened(head, "me")
    head, third = opened(head, "me")
    assert aborted_ranges(aborted(head, {first, third})) == ((1, 1), (3, 3))


def test_purging_changes_neither_the_generation_nor_what_is_seen_of_the_rest():
    head, number = opened(EMPTY, "me")
    head = committed(head, number, dead=[version_of(9, 9)], fields={}, now=NOW)
    after = purged(head, [version_of(9, 9)])
    assert after.snapshot == replace(head.snapshot, dead=frozenset())


@given(st.lists(st.sampled_from(["open", "commit", "abort"]), max_size=60), st.randoms(use_true_random=False))
def test_whatever_happens_exactly_the_committed_numbers_are_seen(steps, chance):
    head, alive, kept, generation = EMPTY, list[int](), set[int](), 0
    for step in steps:
        if step == "open" or not alive:
            head, number = opened(head, "me")
            alive.append(number)
        elif step == "commit":
            number = alive.pop(chance.randrange(len(alive)))
            head = committed(head, number, dead=(), fields={}, now=NOW)
            kept.add(number)
            generation += 1
        else:
            head = aborted(head, {alive.pop(chance.randrange(len(alive)))})
    seen = {n for n in range(1, head.snapshot.high + 5) if head.snapshot.sees(version_of(n, 1))}
    assert seen == kept
    assert set(head.open_numbers) == set(alive)
    assert head.snapshot.generation == generation


@given(st.integers(1, 2**40), st.integers(0, 2**16 - 1))
def test_a_version_names_its_number(number, ordinal):
    assert born_of(version_of(number, ordinal)) == number
