"""Writes docs/reference/settings.md from the settings classes; --check fails when it is not what they say."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Set
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from askmesh.local_settings import LocalSettings
from chassis.settings import GRPC_SERVER_FIELDS, ServiceSettings, other_names, variables
from gateway.settings import GatewaySettings
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/settings.md"

HEAD = """\
# Settings

Every setting is an environment variable. All wrong and all unknown ASKMESH_ variables are reported in one error, by
name and without their values. `deploy/scripts/settings_page.py` makes this page from the code; a test holds the two
together.

A setting that every service has can be given once for all of them, as ASKMESH_AUTH, or for one service, as
ASKMESH_RETRIEVER_AUTH; the narrower name wins. Old names are the Java system's and OpenTelemetry's.
"""

CLIENT = """\
## The command line as a client

| variable | default | meaning |
|---|---|---|
| ASKMESH_CLIENT_TARGET | 127.0.0.1:50051 | gRPC address that `askmesh ask`, `search`, `ingest` and so on talk to. |
| ASKMESH_CLIENT_COLLECTION | docs | Collection of commands that name none. |
| ASKMESH_CLIENT_TOKEN | | API key or JWT. |
| ASKMESH_EVAL_DATA | | Folder of the evaluation data of `askmesh eval`. |
"""

SERVICES: tuple[tuple[str, type[ServiceSettings]], ...] = (
    ("The retriever", RetrieverSettings),
    ("The orchestrator", OrchestratorSettings),
    ("The gateway", GatewaySettings),
    ("All three in one process: askmesh up", LocalSettings),
)


def page() -> str:
    """The whole page."""
    parts = [
        HEAD,
        *_table("Every service", _common(ServiceSettings.model_fields.keys() - GRPC_SERVER_FIELDS)),
        *_table("The gRPC servers: retriever and orchestrator", _common(GRPC_SERVER_FIELDS)),
    ]
    for title, kind in SERVICES:
        parts += _table(title, _own(kind))
    return "\n".join([*parts, CLIENT])


def _common(names: Set[str]) -> Iterator[tuple[str, FieldInfo]]:
    return ((f"ASKMESH_{name.upper()}", field) for name, field in ServiceSettings.model_fields.items() if name in names)


def _own(kind: type[ServiceSettings]) -> Iterator[tuple[str, FieldInfo]]:
    """What a class adds to the common settings, and those it gives another default."""
    common = {name: field.default for name, field in ServiceSettings.model_fields.items()}
    prefix = str(kind.model_config["env_prefix"]).lower()
    for variable, field in variables(kind).items():
        name = variable.lower().removeprefix(prefix)
        if name not in common or common[name] != field.default:
            yield variable, field


def _table(title: str, rows: Iterator[tuple[str, FieldInfo]]) -> Iterator[str]:
    yield f"## {title}\n\n| variable | default | meaning |\n|---|---|---|"
    for variable, field in rows:
        old = [name for name in other_names(field, "") if not name.startswith("ASKMESH_")]
        meaning = (field.description or "") + (f" Old name: {', '.join(old)}." if old else "")
        yield f"| {variable} | {_default(field)} | {meaning.replace('|', 'or')} |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "~/.local/share/askmesh"  # the one default that the environment decides
    value = field.default
    match value:
        case None | "" | () | SecretStr():
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(value)
    return str(value)


def main(arguments: list[str]) -> int:
    if "--check" in arguments:
        return 0 if PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
