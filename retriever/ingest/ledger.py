"""What may happen to a collection's head, as arithmetic: every change of visibility is one of these, swapped in.

Rule 1: a number is given out once. It enters `excluded` when it opens and leaves it by a commit, never by an abort.
Rule 2: G grows by one with every commit and with nothing else: opening, aborting and purging show readers nothing new.
Rule 3: contents that are staged have a uid of their own; they take the place of the visible ones all at once, or never.
Rule 4: a version enters `dead` in the commit that replaces or deletes it, and leaves when no store holds it any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from retriever.types import CollectionHead, FieldType, Snapshot, Staged

Ranges = tuple[tuple[int, int], ...]


def new_head(tenant: str, name: str, *, uid: str, embedder_fingerprint: str, now: datetime) -> CollectionHead:
    """The head of a collection that has no commit yet: readers take it for absent while its generation is 0."""
    return CollectionHead(
        tenant=tenant,
        name=name,
        snapshot=Snapshot(uid),
        embedder_fingerprint=embedder_fingerprint,
        fields={},
        open_numbers={},
        created_at=now,
        updated_at=now,
    )


def opened(head: CollectionHead, owner: str) -> tuple[CollectionHead, int]:
    """The head with one more open transaction, and its number."""
    number = head.snapshot.high + 1
    snapshot = replace(head.snapshot, high=number, excluded=with_number(head.snapshot.excluded, number))
    return replace(head, snapshot=snapshot, open_numbers={**head.open_numbers, number: owner}), number


def committed(
    head: CollectionHead,
    number: int | None,
    *,
    dead: Iterable[int],
    fields: Mapping[str, FieldType],
    now: datetime,
) -> CollectionHead:
    """The head after a commit: `number` (None: nothing was written) becomes visible, `dead` disappears, at once."""
    old = head.snapshot
    excluded, open_numbers = old.excluded, dict(head.open_numbers)
    if number is not None:
        del open_numbers[number]
        excluded = without_number(excluded, number)
    snapshot = replace(old, generation=old.generation + 1, excluded=excluded, dead=old.dead | frozenset(dead))
    return replace(head, snapshot=snapshot, open_numbers=open_numbers, fields=dict(fields), updated_at=now)


def aborted(head: CollectionHead, numbers: Collection[int]) -> CollectionHead:
    """The head without these open transactions; their numbers stay excluded for ever."""
    return replace(head, open_numbers={n: owner for n, owner in head.open_numbers.items() if n not in numbers})


def purged(head: CollectionHead, versions: Iterable[int]) -> CollectionHead:
    """The head once no store holds these dead versions any more."""
    return replace(head, snapshot=replace(head.snapshot, dead=head.snapshot.dead - frozenset(versions)))


def staging(head: CollectionHead, staged: Staged | None) -> CollectionHead:
    """The head with contents staged beside the visible ones; None: with none, those that were are given up."""
    return replace(head, staged=staged)


def beaten(head: CollectionHead) -> CollectionHead:
    """The head whose stager shows that it lives."""
    assert head.staged is not None, "only what is staged has a stager"
    return replace(head, staged=replace(head.staged, beats=head.staged.beats + 1))


def flipped(head: CollectionHead, contents: CollectionHead) -> CollectionHead:
    """The head with staged contents in the place of the visible ones, at once; G does not go back.

    Args:
        head: Whose name stays; open transactions of the old uid can no longer commit.
        contents: What was staged, as a head of its own.
    """
    generation = max(head.snapshot.generation + 1, contents.snapshot.generation)
    snapshot = replace(contents.snapshot, generation=generation)
    return replace(contents, tenant=head.tenant, name=head.name, snapshot=snapshot, revision=head.revision, staged=None)


def let_go(head: CollectionHead) -> CollectionHead:
    """The head that takes commits again."""
    return replace(head, held_by="")


def recovered(head: CollectionHead, numbers: Collection[int]) -> CollectionHead:
    """The head without what processes that are dead left in it."""
    return let_go(aborted(head, numbers))


def forgotten(head: CollectionHead, *, moment: datetime) -> CollectionHead:
    """The head without what was kept for a rollback until `moment` or before."""
    return head if head.retired is None or head.retired.keep_until > moment else replace(head, retired=None)


def aborted_ranges(head: CollectionHead) -> Ranges:
    """Excluded numbers that are not open: whatever was written under them is garbage."""
    ranges = head.snapshot.excluded
    for number in head.open_numbers:
        ranges = without_number(ranges, number)
    return ranges


def with_number(ranges: Ranges, number: int) -> Ranges:
    """The ranges with one more number, sorted and merged."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted([*ranges, (number, number)]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def without_number(ranges: Ranges, number: int) -> Ranges:
    """The ranges with one number less, split where it was."""
    left: list[tuple[int, int]] = []
    for first, last in ranges:
        if not first <= number <= last:
            left.append((first, last))
            continue
        if first < number:
            left.append((first, number - 1))
        if number < last:
            left.append((number + 1, last))
    return tuple(left)
