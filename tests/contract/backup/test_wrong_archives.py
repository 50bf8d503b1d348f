"""Archives that are wrong, cut off or changed: a typed error, and nothing of them is stored."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from chassis.errors import ArchiveInvalid, EmbedderMismatch
from tests.contract.backup.sides import archive_of, corpus, import_target, lines_of, uid_while_importing
from tests.contract.search.samples import TENANT, budget


def _first_with(lines, key):
    return next(at for at, line in enumerate(lines) if key in line)


def _changed(key, name, value):
    def change(lines):
        lines[_first_with(lines, key)][key][name] = value

    return change


def _wrong_chunk(**values):
    def change(lines):
        lines[_first_with(lines, "chunks")]["chunks"][0] |= values

    return change


def _wrong_header(**values):
    return lambda lines: lines[0].update(values)


def _without(key):
    return lambda lines: lines.pop(_first_with(lines, key))


def _twice(key):
    return lambda lines: lines.insert(1, lines[_first_with(lines, key)])


def _wrong_block(*row):
    return lambda lines: lines[_first_with(lines, "blocks")].update(blocks=[list(row)])


def _wrong_vectors(values):
    def change(lines):
        line = lines[_first_with(lines, "chunks")]
        line["vectors"] = base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()

    return change


WRONG = {
    "another format version": _wrong_header(askmesh_archive=2),
    "another dimension": _wrong_header(dim=9),
    "no dimension": _wrong_header(dim=0),
    "fewer documents than said": _wrong_header(document_count=99),
    "a field of another type": _wrong_header(fields={"year": "string"}),
    "no header": _without("askmesh_archive"),
    "a document without its text": _without("text"),
    "a document without its chunks": _without("chunks"),
    "a text without its document": _without("document"),
    "a document twice": _twice("document"),
    "an empty id": _changed("document", "document_id", ""),
    "an id that is no text": _changed("document", "document_id", 7),
    "no groups": _changed("document", "groups", []),
    "more chunks than there are": _changed("document", "chunk_count", 5),
    "fewer characters than there are": _changed("document", "text_chars", 3),
    "a hostile number of characters": _changed("document", "text_chars", 1 << 60),
    "an unknown kind of line": lambda lines: lines.insert(2, {"secret": 1}),
    "a chunk outside its text": _wrong_chunk(end_char=10**6),
    "an empty chunk": _wrong_chunk(start_char=3, end_char=3),
    "a block outside the text": _wrong_block("code", 0, 10**6, 0, 0),
    "an empty block": _wrong_block("code", 3, 3, 0, 0),
    "blocks that overlap": lambda lines: lines[_first_with(lines, "blocks")]["blocks"].extend(
        [["code", 0, 1, 0, 0]] * 2
    ),
    "a block of another kind": _wrong_block("video", 0, 1, 0, 0),
    "a block that lacks its page": _wrong_block("code", 0, 1, 0),
    "blocks without a document's text": lambda lines: lines.insert(2, lines.pop(_first_with(lines, "blocks"))),
    "too few vectors": _wrong_vectors([1, 0, 0, 0, 0, 0, 0]),
    "vectors that are not numbers": _wrong_vectors([float("nan")] * 8),
    "vectors that are not of length 1": _wrong_vectors([1, 1, 1, 1, 1, 1, 1, 1]),
    "lines after the end": lambda lines: lines.insert(-1, lines[-1]),
    "wrong sums": _changed("end", "chunk_count", 1),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_archive_that_is_wrong_in_itself_leaves_nothing(source, open_side, wrong):
    target = await open_side("embedded", "target")
    await source.put(*corpus()[1:])
    lines = lines_of(await source.export())
    WRONG[wrong](lines)
    seen: list[str] = []
    data = uid_while_importing(target, archive_of(lines), seen)
    with pytest.raises(ArchiveInvalid):
        await target.importer().run(TENANT, import_target(), data, budget=budget(60))
    assert await target.head() is None
    for uid in seen:
        assert await target.is_empty(uid)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.999])
async def test_an_archive_that_is_cut_off_leaves_nothing(source, target, share):
    await source.put(*corpus())
    archive = await source.export()
    seen: list[str] = []
    data = uid_while_importing(target, archive[: int(len(archive) * share)], seen)
    with pytest.raises(ArchiveInvalid):
        await target.importer().run(TENANT, import_target(), data, budget=budget(60))
    assert await target.head() is None
    for uid in seen:
        assert await target.is_empty(uid)


async def test_a_changed_byte_anywhere_is_found(source, open_side):
    target = await open_side("embedded", "target")
    await source.put(*corpus()[1:6])
    archive = await source.export()
    for at in range(0, len(archive), max(1, len(archive) // 60)):
        changed = archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1 :]
        with pytest.raises((ArchiveInvalid, EmbedderMismatch)):
            await target.take(changed)
        assert await target.head() is None
