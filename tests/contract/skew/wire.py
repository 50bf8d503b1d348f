"""The golden calls: requests of the released contract as bytes, and what was said to each when it was released.

golden/<name>.binpb holds a call, each message with its length before it. `python -m tests.contract.skew.record` wrote
them and is run again only when a contract is released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from tests.contract.skew.generations import released_class, released_methods

GOLDEN = Path(__file__).with_name("golden")
COLLECTION = "handbook"
LENGTH_BYTES = 4
# What no two calls have in common: ids, times and clocks.
VOLATILE = {
    "answerId", "requestId", "traceId", "originAnswerId", "collectionUid", "uid", "milliseconds", "timings",
    "ageSeconds", "createTime", "updateTime", "nextPageToken",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    name: str
    path: str
    requests: Sequence[bytes]
    replies: Sequence[bytes]

    def save(self) -> None:
        frames = [self.path.encode(), len(self.requests).to_bytes(LENGTH_BYTES), *self.requests, *self.replies]
        body = b"".join(len(frame).to_bytes(LENGTH_BYTES) + frame for frame in frames)
        (GOLDEN / f"{self.name}.binpb").write_bytes(body)


def load() -> list[Call]:
    return [_read(file) for file in sorted(GOLDEN.glob("*.binpb"))]


def _read(file: Path) -> Call:
    data, frames = file.read_bytes(), []
    while data:
        size = int.from_bytes(data[:LENGTH_BYTES])
        frames.append(data[LENGTH_BYTES : LENGTH_BYTES + size])
        data = data[LENGTH_BYTES + size :]
    path, count, *messages = frames
    requests = int.from_bytes(count)
    return Call(file.stem, path.decode(), messages[:requests], messages[requests:])


def alike(path: str, replies: Sequence[bytes]) -> list[Any]:
    """Replies as a released client reads them, without what differs from call to call."""
    kind = released_class(released_methods()[path].output_type.full_name)
    return [_steady(MessageToDict(kind.FromString(reply))) for reply in replies]


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _steady(held) for name, held in value.items() if name not in VOLATILE}
    if isinstance(value, list):
        return [_steady(each) for each in value]
    return round(value, 3) if isinstance(value, float) else value  # scores differ in the last digits between machines


def places(value: Any, where: str = "") -> set[str]:
    """Every field that is there, wherever in a list: what a released client may count on finding."""
    if isinstance(value, dict):
        return {
            place for name, held in value.items() for place in {f"{where}.{name}", *places(held, f"{where}.{name}")}
        }
    if isinstance(value, list):
        return {place for each in value for place in places(each, f"{where}[]")}
    return set()
