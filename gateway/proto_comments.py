"""The contracts' comments, by full name: generated Python lacks them, so `make gen` writes a descriptor set too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

# Field numbers on a path of SourceCodeInfo.Location (google/protobuf/descriptor.proto).
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
_ENUM_VALUE = 2
_SERVICE_METHOD = 2

Path = tuple[int, ...]


def load_comments() -> dict[str, str]:
    """Full name of a message, field, enum, enum value, service or method -> its comment, as one paragraph."""
    packed = resources.files("rag").joinpath("descriptors.binpb").read_bytes()
    return {
        name: comment
        for file in FileDescriptorSet.FromString(packed).file
        for name, comment in _comments_of(file)
        if comment
    }


def _comments_of(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    text = {tuple(at.path): " ".join(at.leading_comments.split()) for at in file.source_code_info.location}
    for path, name in _names_of(file):
        yield name, text.get(path, "")


def _names_of(file: FileDescriptorProto) -> Iterator[tuple[Path, str]]:
    for index, message in enumerate(file.message_type):
        yield from _message_names(message, (_FILE_MESSAGE, index), file.package)
    for index, enum in enumerate(file.enum_type):
        yield from _with_members((_FILE_ENUM, index), f"{file.package}.{enum.name}", _ENUM_VALUE, enum.value)
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield from _with_members((_FILE_SERVICE, index), name, _SERVICE_METHOD, service.method)


def _message_names(message: DescriptorProto, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    name = f"{scope}.{message.name}"
    yield from _with_members(path, name, _MESSAGE_FIELD, message.field)
    for index, nested in enumerate(message.nested_type):
        yield from _message_names(nested, (*path, _MESSAGE_NESTED, index), name)
    for index, enum in enumerate(message.enum_type):
        yield from _with_members((*path, _MESSAGE_ENUM, index), f"{name}.{enum.name}", _ENUM_VALUE, enum.value)


def _with_members(path: Path, name: str, number: int, members: Sequence[object]) -> Iterator[tuple[Path, str]]:
    yield path, name
    for index, member in enumerate(members):
        yield (*path, number, index), f"{name}.{getattr(member, 'name')}"  # noqa: B009  # members share no typed base
