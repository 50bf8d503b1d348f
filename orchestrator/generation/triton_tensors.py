"""Tensors as Triton's wire carries them: a name, a type, a shape and little-endian bytes. No I/O, no client library.

Source: Triton's documentation of raw_input_contents and raw_output_contents: row-major, BYTES elements each behind
their length in 4 bytes, BOOL in one byte each.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chassis.errors import ModelUnavailable

__all__ = ["Outputs", "Tensor", "count_in", "flag", "number", "text_in", "texts"]

_FORMATS = {"INT32": "<i", "UINT32": "<I", "UINT64": "<Q", "INT64": "<q", "FP32": "<f"}
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output; `raw` as on the wire."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes


Outputs = Mapping[str, Tensor]


def texts(name: str, values: Sequence[str], shape: tuple[int, ...]) -> Tensor:
    """BYTES, which a model's configuration calls TYPE_STRING."""
    encoded = [value.encode() for value in values]
    return Tensor(name, "BYTES", shape, b"".join(_LENGTH.pack(len(value)) + value for value in encoded))


def number(name: str, datatype: str, value: float, shape: tuple[int, ...]) -> Tensor:
    """One value; `datatype` is INT32, UINT64, FP32 ..."""
    return Tensor(name, datatype, shape, struct.pack(_FORMATS[datatype], value))


def flag(name: str, value: bool, shape: tuple[int, ...]) -> Tensor:
    return Tensor(name, "BOOL", shape, bytes([value]))


def text_in(outputs: Outputs, name: str) -> bytes:
    """The first element of a BYTES output: one sequence is asked for, so there is one.

    Raises:
        ModelUnavailable: it is missing, of another type, or cut short.
    """
    tensor = outputs.get(name)
    if tensor is None or tensor.datatype != "BYTES" or len(tensor.raw) < _LENGTH.size:
        raise _unlike_contract()
    (length,) = _LENGTH.unpack_from(tensor.raw)
    if len(tensor.raw) < _LENGTH.size + length:
        raise _unlike_contract()
    return tensor.raw[_LENGTH.size : _LENGTH.size + length]


def count_in(outputs: Outputs, name: str) -> int | None:
    """The first element of an integer output; None when the model left it out.

    Raises:
        ModelUnavailable: it is of another type, or empty.
    """
    tensor = outputs.get(name)
    if tensor is None:
        return None
    layout = _FORMATS.get(tensor.datatype, "<f")
    if layout == "<f" or len(tensor.raw) < struct.calcsize(layout):
        raise _unlike_contract()
    (value,) = struct.unpack_from(layout, tensor.raw)
    return int(value)


def _unlike_contract() -> ModelUnavailable:
    return ModelUnavailable("the model's tensors are not those of the chosen codec: check the orchestrator's settings")
