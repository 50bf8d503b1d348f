"""From settings to the chassis's parts: the lines every service's app.py would repeat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from chassis.admission import Admission, Limit
from chassis.auth import ApiKeyAuthenticator, Authenticator, JwtAuthenticator, KeySource, LocalAuthenticator, StaticKey
from chassis.errors import SettingsInvalid
from chassis.jwks import jwks_keys
from chassis.settings import ServiceSettings


def build_admission(settings: ServiceSettings, *, methods: Mapping[str, Limit] | None = None) -> Admission:
    """The service's admission; `methods` get pools of their own (long streams, by full method name)."""
    return Admission(Limit(settings.max_concurrency, settings.max_queue), methods=methods)


@asynccontextmanager
async def build_authenticator(settings: ServiceSettings) -> AsyncIterator[Authenticator]:
    """The service's authenticator. Raises SettingsInvalid when something it needs is not set."""
    match settings.auth:
        case "local":
            yield LocalAuthenticator()
        case "api-key":
            if settings.api_keys_file is None:
                raise SettingsInvalid("api_keys_file is required with auth=api-key")
            yield ApiKeyAuthenticator.from_file(settings.api_keys_file)
        case "jwt":
            if settings.jwt_jwks_url:
                async with jwks_keys(settings.jwt_jwks_url) as keys:
                    yield _jwt(settings, keys)
            elif settings.jwt_key.get_secret_value():
                yield _jwt(settings, StaticKey(settings.jwt_key.get_secret_value()))
            else:
                raise SettingsInvalid("jwt_jwks_url or jwt_key is required with auth=jwt")


def _jwt(settings: ServiceSettings, keys: KeySource) -> JwtAuthenticator:
    return JwtAuthenticator(
        keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience, algorithms=settings.jwt_algorithms
    )
