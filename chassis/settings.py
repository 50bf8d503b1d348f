"""Settings: one frozen class per service, read once in app.py from the environment, every mistake reported at once.

Where a value comes from, first found wins: constructor argument, ASKMESH_<SERVICE>_<FIELD>, for the fields that every
service has ASKMESH_<FIELD>, the older names a field lists with `Also`, the default.

Rule 1: errors and repr name variables and never print values: a Redis URL holds a password.
Rule 2: an ASKMESH_ name that means nothing is a mistake, reported with the nearest name that means something.
Rule 3: lists are `CommaList`: "a, b". JSON lists would make one bad list hide every other error.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from chassis.errors import SettingsInvalid

ROOT_PREFIX: Final = "ASKMESH_"

# Families of names that belong to other processes or programs: not this service's business.
FAMILIES: Final = (
    "RETRIEVER_", "ORCHESTRATOR_", "GATEWAY_", "EMBEDDING_", "LOCAL_", "CLIENT_", "BENCH_", "EVAL_DATA", "TEST_", "RIG",
)  # fmt: skip

# What Kubernetes puts into every pod for a Service called askmesh-...: nobody typed these.
_SERVICE_LINK = re.compile(r".*_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)")


@dataclass(frozen=True, slots=True)
class Also:
    """Further, older environment names of a field: `Annotated[int, Also("TOP_K")]`."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Strings separated by commas; spaces around them and empty ones are dropped."""


# What only a process with a gRPC server of its own reads.
GRPC_SERVER_FIELDS: Final = frozenset(
    {
        "listen",
        "public",
        "max_concurrency",
        "max_queue",
        "auth",
        "api_keys_file",
        "jwt_issuer",
        "jwt_audience",
        "jwt_jwks_url",
        "jwt_key",
        "jwt_algorithms",
    }
)


class ServiceSettings(BaseSettings):
    """What every service has. A subclass sets `model_config = service_config("ASKMESH_RETRIEVER_")`.

    Attributes:
        unused: Fields the subclass has no use for. Their ASKMESH_<SERVICE>_ names are mistakes and reported as such:
            whoever sets ASKMESH_GATEWAY_AUTH believes that it does something.
    """

    unused: ClassVar[frozenset[str]] = frozenset()

    model_config = SettingsConfigDict(env_prefix=ROOT_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    listen: str = Field(
        "127.0.0.1:0", description="Address of the gRPC server: host:port (0 = a free one) or unix:/path."
    )
    public: bool = Field(True, description="Callers are not our own services: 100 streams per connection, not 1,000.")
    drain_s: float = Field(25.0, ge=0, le=600, description="Seconds open calls get to end after SIGTERM.")
    max_concurrency: int = Field(64, ge=1, le=10_000, description="Calls worked on at the same time.")
    max_queue: int = Field(256, ge=0, le=100_000, description="Calls that may wait for their turn; more are shed.")

    auth: Literal["local", "api-key", "jwt"] = Field("local", description="How callers are told apart.")
    api_keys_file: Path | None = Field(None, description="JSON file of hashed keys, for auth=api-key.")
    jwt_issuer: str = Field("", description="Required `iss` of a token, for auth=jwt.")
    jwt_audience: str = Field("", description="Required `aud` of a token, for auth=jwt.")
    jwt_jwks_url: str = Field("", description="Where the issuer's public keys are, for auth=jwt.")
    jwt_key: SecretStr = Field(SecretStr(""), description="One static verification key (PEM, or an HS256 secret).")
    jwt_algorithms: CommaList = Field(("RS256", "ES256"), description="Algorithms a token may be signed with.")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level logged.")
    log_format: Literal["auto", "json", "human"] = Field("auto", description="auto: human on a terminal, else JSON.")
    otlp_endpoint: Annotated[str, Also("OTEL_EXPORTER_OTLP_ENDPOINT")] = Field(
        "", description="URL of an OTLP gRPC collector for traces; empty sends none."
    )
    trace_sample_ratio: float = Field(1.0, ge=0, le=1, description="Share of new traces that are recorded.")
    outbound_proxy: str = Field(
        "",
        description="Host of a sidecar's outbound listeners, where no redirection brings calls there: gRPC calls to "
        "host:port go to the same port of it, under their own authority.",
    )
    metrics_listen: str = Field("", description="host:port that serves /metrics; empty serves none.")

    @classmethod
    def settings_customise_sources(  # noqa: PLR0917  # pydantic-settings' own signature
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """No .env files: what a process reads is what its environment shows."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, _OtherNames(settings_cls)


def service_config(prefix: str) -> SettingsConfigDict:
    """The conventions, for a service whose variables begin with `prefix` ("ASKMESH_RETRIEVER_")."""
    return SettingsConfigDict(env_prefix=prefix, frozen=True, extra="forbid", hide_input_in_errors=True)


class _OtherNames(PydanticBaseSettingsSource):
    """ASKMESH_<FIELD> for the fields every service has, then the names a field lists with `Also`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        for name in other_names(field, field_name):
            if name in os.environ:
                return os.environ[name], field_name, False
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


S = TypeVar("S", bound=ServiceSettings)


def load(kind: type[S], **given: Any) -> S:
    """Read a service's settings.

    Args:
        kind: The service's class.
        given: Values that win over the environment.
    Raises:
        SettingsInvalid: listing every bad and every unknown variable, by name, without values.
    """
    problems = [_unknown(name, kind) for name in _unknown_names(os.environ, kind)]
    try:
        settings = kind(**given)
    except ValidationError as exc:
        problems = [*_described(exc, kind), *problems]
        raise _refusal(problems) from None  # the original would print its input
    if problems:
        raise _refusal(problems)
    return settings


def variables(kind: type[ServiceSettings]) -> dict[str, FieldInfo]:
    """A service's environment variables and what they set, for documentation and for checks."""
    prefix = str(kind.model_config.get("env_prefix", ROOT_PREFIX))
    return {(prefix + name).upper(): field for name, field in kind.model_fields.items() if name not in kind.unused}


def other_names(field: FieldInfo, field_name: str) -> Iterator[str]:
    """The names a field has beside its service's own."""
    if field_name in ServiceSettings.model_fields:
        yield (ROOT_PREFIX + field_name).upper()
    for mark in field.metadata:
        if isinstance(mark, Also):
            yield from mark.names


def _described(exc: ValidationError, kind: type[ServiceSettings]) -> list[str]:
    prefix = str(kind.model_config.get("env_prefix", ROOT_PREFIX))
    lines = []
    for error in exc.errors(include_input=False, include_url=False, include_context=False):
        name = "_".join(str(part) for part in error["loc"][:1]) or "settings"
        lines.append(f"{(prefix + name).upper()}: {error['msg']}")
    return lines


def _unknown_names(environment: Mapping[str, str], kind: type[ServiceSettings]) -> list[str]:
    known = _known(kind)
    prefix = str(kind.model_config.get("env_prefix", ROOT_PREFIX))
    others = tuple(ROOT_PREFIX + family for family in FAMILIES if ROOT_PREFIX + family != prefix)
    return [
        name
        for name in sorted(environment)
        if name.startswith(ROOT_PREFIX) and name not in known and not name.startswith(others)
        if not _SERVICE_LINK.fullmatch(name)
    ]


def _known(kind: type[ServiceSettings]) -> set[str]:
    also = {name for field, info in kind.model_fields.items() for name in other_names(info, field)}
    return {*variables(kind), *also}


def _unknown(name: str, kind: type[ServiceSettings]) -> str:
    nearest = difflib.get_close_matches(name, sorted(_known(kind)), n=1)
    return f"{name}: no such setting" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _refusal(problems: list[str]) -> SettingsInvalid:
    count = len(problems)
    return SettingsInvalid(f"{count} setting{'s are' if count > 1 else ' is'} wrong:\n  " + "\n  ".join(problems))
