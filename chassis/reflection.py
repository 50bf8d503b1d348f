"""Server reflection, so that grpcurl and its like need no proto files: v1alpha, and v1, which tools ask for first.

grpcio-reflection serves v1alpha only. v1 is the same protocol under another package, so its descriptor is made from
v1alpha's by renaming; it is in the pool too, or "describe" would fail on a service that "list" names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import grpc
from google.protobuf import descriptor_pb2, text_format
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

V1ALPHA: Final = "grpc.reflection.v1alpha.ServerReflection"
V1: Final = "grpc.reflection.v1.ServerReflection"

# A status's details are described by reflection as well: whoever prints an error needs these types.
DETAIL_TYPES: Final = error_details_pb2.DESCRIPTOR.name


def add(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Bind both versions to a server, listing `services` and themselves."""
    _describe_v1()
    servicer = reflection_aio.ReflectionServicer((*services, V1ALPHA, V1))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,  # the bytes are the same
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": handler}),))


def _describe_v1() -> None:
    """Put v1's descriptor into the pool; adding the same one again changes nothing."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    renamed = text_format.MessageToString(file).replace("reflection.v1alpha", "reflection.v1")
    file = text_format.Parse(
        renamed.replace("reflection/v1alpha", "reflection/v1"), descriptor_pb2.FileDescriptorProto()
    )
    reflection_pb2.DESCRIPTOR.pool.AddSerializedFile(file.SerializeToString())
