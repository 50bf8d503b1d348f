"""google.api.http rules as routes: which method a request names, and what its path says.

Rule 1: the contract decides. A route exists because an rpc carries an annotation; nothing here knows a method by name.
Rule 2: paths are matched before they are decoded, so that an encoded slash stays inside its segment; a `**` variable
        then holds real slashes, encoded or not, because a document id has one form only.
Rule 3: a known path under another HTTP method is "method not allowed", not "not found".

Source: google/api/http.proto, "Path template syntax".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from rag.orchestrator.v1 import orchestrator_pb2
from rag.retriever.v1 import collection_pb2, document_pb2, retriever_pb2

from chassis.errors import MalformedMessage

VERBS = ("get", "put", "post", "delete", "patch")
WHOLE_BODY = "*"

_TOKEN = re.compile(r"\{(?P<field>[\w.]+)(?:=(?P<pattern>[^}]+))?\}|(?P<many>\*\*)|(?P<one>\*)|(?P<literal>[^{}*]+)")


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP binding of one rpc.

    Attributes:
        verb: The HTTP method, upper case.
        template: The path template, as annotated.
        variables: Field paths the template binds, in order.
        body: "" (none), "*" (the whole message) or the field that is the body.
    """

    verb: str
    template: str
    variables: tuple[str, ...]
    body: str
    method: MethodDescriptor
    pattern: re.Pattern[str]

    @property
    def service(self) -> ServiceDescriptor:
        found: ServiceDescriptor = self.method.containing_service
        return found


@dataclass(frozen=True, slots=True)
class Match:
    """A route and what the path says: field path -> decoded text."""

    route: Route
    bound: dict[str, str]


def contract_files() -> tuple[FileDescriptor, ...]:
    """The files whose services are public."""
    modules = (orchestrator_pb2, retriever_pb2, document_pb2, collection_pb2)
    return tuple(module.DESCRIPTOR for module in modules)


def contract_routes() -> tuple[Route, ...]:
    """Every annotated rpc of the contracts, in the order they are written."""
    return tuple(
        route
        for file in contract_files()
        for service in file.services_by_name.values()
        for method in service.methods
        for route in routes_of(method)
    )


def routes_of(method: MethodDescriptor) -> Iterator[Route]:
    rule: HttpRule = method.GetOptions().Extensions[annotations_pb2.http]  # type: ignore[index]  # the wheel's stubs name another class
    for binding in (rule, *rule.additional_bindings):
        verb = binding.WhichOneof("pattern")
        if verb in VERBS:
            template: str = getattr(binding, verb)
            pattern, variables = compile_template(template)
            yield Route(verb.upper(), template, variables, binding.body, method, pattern)


def compile_template(template: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """A pattern over the encoded path, and the field path of each of its groups."""
    path, _, verb = template.rpartition(":") if ":" in template else (template, "", "")
    variables: list[str] = []
    parts: list[str] = []
    for token in _TOKEN.finditer(path):
        if field := token["field"]:
            variables.append(field)
            parts.append(f"({_segments(token['pattern'] or '*')})")
        else:
            parts.append(_segments(token[0]))
    if verb:
        parts.append(re.escape(f":{verb}"))
    return re.compile("".join(parts)), tuple(variables)


def _segments(pattern: str) -> str:
    # A lone segment holds no colon: what follows one is a verb, and then another route's business.
    wild = {"**": ".+", "*": "[^/:]+"}
    return "".join(wild.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*)", pattern))


class RouteTable:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        # A `**` takes whatever is left, so templates with one are tried last.
        self._routes = sorted(routes, key=lambda route: "**" in route.template)

    def find(self, verb: str, raw_path: str) -> Match | None:
        """The match of an encoded path, or None.

        Raises:
            MalformedMessage: the path's percent-encoding is not UTF-8.
        """
        for route in self._routes:
            if route.verb == verb and (found := route.pattern.fullmatch(raw_path)):
                return Match(route, dict(zip(route.variables, map(_decoded, found.groups()), strict=True)))
        return None

    def verbs(self, raw_path: str) -> tuple[str, ...]:
        """The HTTP methods a path takes; empty when there is no such path."""
        return tuple(sorted({route.verb for route in self._routes if route.pattern.fullmatch(raw_path)}))


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as exc:
        raise MalformedMessage("path: the percent-encoding is not UTF-8") from exc
