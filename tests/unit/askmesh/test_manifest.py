"""Manifests and shards: every document once, in one shard."""

from __future__ import annotations

import gzip

import pytest

from askmesh.manifest import Entry, Shard, entries_below, read_manifest
from askmesh.places import found_below, open_read, open_write
from chassis.errors import DocumentUnreadable, InvalidRequest

FIRST = Entry("d1.md", "/nowhere/d1.md", 1, "tag1")


def half_written(place):
    with open_write(place) as file:
        file.write(b"half of it")
        raise KeyboardInterrupt


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_document_belongs_to_exactly_one_shard(count):
    shards = [Shard(index, count) for index in range(count)]
    for number in range(500):
        assert sum(shard.takes(f"d{number}") for shard in shards) == 1


def test_shards_are_of_about_equal_size():
    sizes = [sum(Shard(index, 4).takes(f"handbook/page {n}.md") for n in range(8_000)) for index in range(4)]
    assert max(sizes) < 1.1 * min(sizes)


def test_a_shard_is_named_or_numbered_by_an_indexed_job():
    assert Shard.parse("2/5", "") == Shard(2, 5)
    assert Shard.parse("/5", "3") == Shard(3, 5)


@pytest.mark.parametrize("text", ["5/5", "-1/5", "/5", "a/b", "1", "", "1/0", "/"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(InvalidRequest):
        Shard.parse(text, "")


def test_a_folder_and_an_object_store_give_the_same_manifest_in_order(tmp_path, memory):
    for name in ("b/z.md", "b/a.txt", "a.md", "ä/ö.md", ".hidden/x.md", "b/.x.md", "b/x.exe"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
        memory.pipe(f"/root/{name}", name.encode())
    own = list(entries_below(str(tmp_path)))
    stored = list(entries_below("memory://root"))
    assert sorted(each.document_id for each in own) == ["a.md", "b/a.txt", "b/z.md", "ä/ö.md"]
    assert [(each.document_id, each.size_bytes) for each in own] == [(e.document_id, e.size_bytes) for e in stored]
    assert stored[0].place == "memory://root/a.md"
    with open_read(stored[0].place) as file:
        assert file.read() == b"a.md"


def test_a_single_file_is_a_manifest_of_one(tmp_path, memory):
    (tmp_path / "a.md").write_text("a")
    memory.pipe("/root/a.md", b"a")
    assert [each.document_id for each in entries_below(str(tmp_path / "a.md"))] == ["a.md"]
    assert [each.document_id for each in entries_below("memory://root/a.md")] == ["a.md"]


@pytest.mark.parametrize("root", ["nowhere", "memory://nowhere", "file:///nowhere"])
def test_a_root_that_is_not_there_is_an_error(root, tmp_path):
    with pytest.raises(FileNotFoundError):
        list(found_below(root if "://" in root else str(tmp_path / root)))


@pytest.mark.parametrize(
    "line", ["{", "[]", "7", "{}", '{"document_id": "", "place": "x", "size_bytes": 1}',
             '{"document_id": "a", "place": 7, "size_bytes": 1}', '{"document_id": "a", "place": "x"}']
)  # fmt: skip
def test_a_line_that_is_no_entry_is_named(tmp_path, line):
    (tmp_path / "m").write_text(f"{FIRST.line}\n\n{line}\n")
    with pytest.raises(InvalidRequest, match="manifest line 3"):
        list(read_manifest(str(tmp_path / "m"), Shard()))


@pytest.mark.parametrize("name", ["plain.jsonl", "packed.jsonl.gz"])
def test_a_file_is_whole_or_not_there(tmp_path, name):
    for place in (str(tmp_path / name), f"file://{tmp_path}/url-{name}"):
        with open_write(place) as file:
            file.write(b"all of it")
        with open_read(place) as file:
            assert file.read() == b"all of it"
        with pytest.raises(KeyboardInterrupt):
            half_written(place + "2")
        with pytest.raises(DocumentUnreadable), open_read(place + "2") as file:
            file.read()
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"url-{name}"]


@pytest.mark.parametrize(
    "position",
    [0, 12, -8],  # the file's magic number, its first deflate block, its checksum
)
def test_a_damaged_manifest_is_unreadable_wherever_the_damage_is(tmp_path, position):
    lines = "\n".join(Entry(f"d{n}.md", f"/nowhere/d{n}.md", n, f"tag{n}").line for n in range(200))
    packed = bytearray(gzip.compress(lines.encode(), mtime=0))
    packed[position] ^= 0xFF
    manifest = tmp_path / "m.jsonl.gz"
    manifest.write_bytes(packed)
    with pytest.raises(DocumentUnreadable):
        list(read_manifest(str(manifest), Shard(0, 1)))
