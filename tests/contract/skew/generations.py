"""Three generations of the contract, as what a node of each understands of a message and says of it.

released: protos/released/v1.binpb, what clients in the field were generated from. current: gen/. upcoming: the current
one with a field more in every message, as additions will bring; nobody else knows that field.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message import Message
from rag.orchestrator.v1 import orchestrator_pb2  # noqa: F401  # fills the default pool
from rag.retriever.v1 import collection_pb2, document_pb2, retriever_pb2  # noqa: F401  # as above

RELEASED = Path(__file__).resolve().parents[3] / "protos" / "released" / "v1.binpb"
# Field 1000, length-delimited, "new": no message of ours comes near that number.
ADDITION = b"\xc2\x3e\x03new"

Generation = Callable[[Descriptor, bytes], bytes]


def _released_pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(RELEASED.read_bytes()).file:
        pool.Add(file)  # the image holds files after those they import
    return pool


RELEASED_POOL = _released_pool()


def released_methods() -> dict[str, MethodDescriptor]:
    """Every rpc of the released contract by its path, "/rag.orchestrator.v1.OrchestratorService/Ask"."""
    files = descriptor_pb2.FileDescriptorSet.FromString(RELEASED.read_bytes()).file
    services = [
        RELEASED_POOL.FindServiceByName(f"{file.package}.{made.name}") for file in files for made in file.service
    ]
    return {f"/{service.full_name}/{method.name}": method for service in services for method in service.methods}


def released_class(name: str) -> type[Any]:
    return message_factory.GetMessageClass(RELEASED_POOL.FindMessageTypeByName(name))


def current_class(name: str) -> type[Any]:
    return message_factory.GetMessageClass(Default().FindMessageTypeByName(name))


def released(kind: Descriptor, data: bytes) -> bytes:
    return _understood(released_class(kind.full_name), data)


def current(kind: Descriptor, data: bytes) -> bytes:
    return _understood(current_class(kind.full_name), data)


def upcoming(kind: Descriptor, data: bytes) -> bytes:
    message = current_class(kind.full_name).FromString(data)
    _add(message)
    said: bytes = message.SerializeToString()
    return said


GENERATIONS: dict[str, Generation] = {"released": released, "current": current, "upcoming": upcoming}


def _understood(of: type[Any], data: bytes) -> bytes:
    """What is left when everything this generation has no field for is forgotten."""
    message = of.FromString(data)
    message.DiscardUnknownFields()
    kept: bytes = message.SerializeToString()
    return kept


def _add(message: Message) -> None:
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE:
                for each in value.values():
                    _add(each)
        else:
            for each in value if field.is_repeated else [value]:
                _add(each)
    message.MergeFromString(ADDITION)
