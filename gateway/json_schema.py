"""JSON Schema of the contracts' messages, as proto JSON has them: what a request may hold, what a response does hold.

Rule 1: the two differ. A request may leave fields out and write 64-bit integers as numbers; a response always has every
        field without presence, and 64-bit integers as text.
Rule 2: so a message used both ways has two schemas where they differ; the request's is called ...Input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.json_faults import is_map, json_name

Schema = dict[str, Any]

_INT32 = {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32 = {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 2**32 - 1}
_SPECIAL = {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}
_DOUBLE: Schema = {"anyOf": [{"type": "number", "format": "double"}, _SPECIAL]}
_FLOAT: Schema = {"anyOf": [{"type": "number", "format": "float"}, _SPECIAL]}
_BYTES = {"type": "string", "contentEncoding": "base64", "pattern": "^[A-Za-z0-9+/]*={0,2}$"}

# The JSON form of the well-known types the contracts use.
_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time", "description": "RFC 3339, UTC."},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
        "description": "A message with its type's URL.",
    },
}

_SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: _BYTES,
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_DOUBLE: _DOUBLE,
    FieldDescriptor.TYPE_FLOAT: _FLOAT,
}
_INT64 = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}
_UINT64 = {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"}
_LONG: Mapping[int, Schema] = {FieldDescriptor.TYPE_INT64: _INT64, FieldDescriptor.TYPE_UINT64: _UINT64}
_LONG_BOUNDS: Mapping[int, tuple[int, int]] = {
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


class SchemaWriter:
    """Writes component schemas for the messages it is asked about, and for all they hold.

    Args:
        comments: Full name -> description.
    """

    def __init__(self, comments: Mapping[str, str]) -> None:
        self._comments = comments
        self.schemas: dict[str, Schema] = {}

    def request(self, message: Descriptor, *, without: tuple[str, ...] = ()) -> Schema:
        """A reference to what a request may hold, less the fields its path binds."""
        name = f"{message.full_name}Body" if without else f"{message.full_name}Input"
        return self._reference(name, message, self._input_field, without=without)

    def response(self, message: Descriptor) -> Schema:
        """A reference to what a response holds."""
        if message.full_name in _WELL_KNOWN:
            return _WELL_KNOWN[message.full_name]
        return self._reference(message.full_name, message, self._output_field, required=always_present)

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a request's field, for query parameters."""
        return self._described(self._input_field(field), field.full_name)

    def _reference(
        self,
        name: str,
        message: Descriptor,
        write: Callable[[FieldDescriptor], Schema],
        *,
        without: tuple[str, ...] = (),
        required: Callable[[FieldDescriptor], bool] | None = None,
    ) -> Schema:
        if name not in self.schemas:
            schema = self.schemas[name] = self._described({"type": "object"}, message.full_name)
            fields = [field for field in message.fields if field.name not in without]
            schema["properties"] = {
                json_name(field): self._described(write(field), field.full_name) for field in fields
            }
            if required is None:
                schema["additionalProperties"] = False
            else:
                schema["required"] = [json_name(field) for field in fields if required(field)]
        return {"$ref": f"#/components/schemas/{name}"}

    def _input_field(self, field: FieldDescriptor) -> Schema:
        return self._shaped(field, self._input_value)

    def _output_field(self, field: FieldDescriptor) -> Schema:
        return self._shaped(field, self._output_value)

    def _shaped(self, field: FieldDescriptor, write: Callable[[FieldDescriptor], Schema]) -> Schema:
        if is_map(field):
            value = field.message_type.fields_by_name["value"]
            return {"type": "object", "additionalProperties": write(value)}
        if field.is_repeated:
            return {"type": "array", "items": write(field)}
        return write(field)

    def _input_value(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            known = _WELL_KNOWN.get(field.message_type.full_name)
            return known or self.request(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.type in _LONG:
            low, high = _LONG_BOUNDS[field.type]
            return {"type": "integer", "format": _LONG[field.type]["format"], "minimum": low, "maximum": high}
        return _SCALARS[field.type]

    def _output_value(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.response(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return _LONG.get(field.type) or _SCALARS[field.type]

    def _enum(self, enum: EnumDescriptor) -> Schema:
        if enum.full_name not in self.schemas:
            lines = [
                f"- `{value.name}`: {self._comments.get(f'{enum.full_name}.{value.name}', '')}" for value in enum.values
            ]
            text = "\n".join([self._comments.get(enum.full_name, ""), "", *lines]).strip()
            self.schemas[enum.full_name] = {
                "type": "string",
                "enum": [value.name for value in enum.values],
                "description": text,
            }
        return {"$ref": f"#/components/schemas/{enum.full_name}"}

    def _described(self, schema: Schema, name: str) -> Schema:
        comment = self._comments.get(name)
        return {**schema, "description": comment} if comment else dict(schema)


def always_present(field: FieldDescriptor) -> bool:
    """A response has it even at its default: it has no presence (see json_printer.to_dict)."""
    return not field.has_presence
