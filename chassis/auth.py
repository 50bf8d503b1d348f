"""Who a caller is, from the headers of a call. A service knows only the resulting Identity.

Rule 1: tenant, groups and roles come from verified credentials, never from a message.
Rule 2: authenticating reads memory only; keys are loaded and refreshed elsewhere, so that no call waits for an issuer.
Rule 3: every refusal of a credential is the same to its holder: which check failed helps only a forger.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import jwt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from chassis.context import CREDENTIALS_HEADER, MAX_CREDENTIALS_CHARS
from chassis.errors import CredentialsInvalid, CredentialsMissing, PermissionDenied, SettingsInvalid
from chassis.identity import LOCAL, ROLE_ASK, ROLES, Identity

CLOCK_SKEW_S: Final = 30  # two machines with NTP are never further apart


class Authenticator(Protocol):
    def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        """The caller's identity. Raises CredentialsMissing, CredentialsInvalid, or BackendUnavailable without keys."""
        ...


def require(identity: Identity, role: str) -> None:
    """Raise PermissionDenied, naming the role, unless the caller has it."""
    if role not in identity.roles:
        raise PermissionDenied(f'this call needs the role "{role}"', metadata={"role": role})


class LocalAuthenticator:
    """One tenant, every role, no credentials: an installation only its owner can reach."""

    def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        del metadata
        return LOCAL


class ApiKey(BaseModel):
    """One entry of the keys file: the key's hash, never the key.

    Attributes:
        sha256: Hexadecimal SHA-256 of the key. Keys are 128 random bits or more, so a slow hash would add nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenant: str = Field(min_length=1, max_length=64)
    subject: str = Field("", max_length=128)
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset({ROLE_ASK})

    def identity(self) -> Identity:
        return Identity(self.tenant, self.groups, self.roles & ROLES, self.subject)


class ApiKeyAuthenticator:
    """Bearer keys, compared by hash in constant time. It does not reload: a changed file needs a restart."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = [(bytes.fromhex(key.sha256), key.identity()) for key in keys]

    @classmethod
    def from_file(cls, path: Path) -> ApiKeyAuthenticator:
        """Read a JSON list of ApiKey. Raises SettingsInvalid, without quoting the file."""
        try:
            return cls(TypeAdapter(list[ApiKey]).validate_python(json.loads(path.read_text("utf-8"))))
        except OSError as exc:
            raise SettingsInvalid("api_keys_file cannot be read") from exc
        except ValidationError as exc:
            where = ", ".join(".".join(map(str, error["loc"])) for error in exc.errors(include_input=False))
            raise SettingsInvalid(f"api_keys_file is not a list of keys; look at: {where}") from None
        except ValueError:
            raise SettingsInvalid("api_keys_file is not JSON in UTF-8") from None

    def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        offered = hashlib.sha256(bearer(metadata).encode()).digest()
        found: Identity | None = None
        for digest, identity in self._keys:  # all of them: where it stops would tell how far a guess got
            if hmac.compare_digest(digest, offered):
                found = identity
        if found is None:
            raise _refused()
        return found


class KeySource(Protocol):
    def key_for(self, key_id: str | None) -> Any | None:
        """The verification key of this id, None for an unknown one. Raises BackendUnavailable when none are loaded."""
        ...


class StaticKey:
    """One key for every token: a PEM public key, or an HMAC secret."""

    def __init__(self, key: str) -> None:
        self._key = key

    def key_for(self, key_id: str | None) -> Any | None:
        del key_id
        return self._key


class JwtAuthenticator:
    """Signed tokens: algorithm pinned, issuer, audience and expiry required.

    Args:
        keys: Verification keys by id.
        issuer: The only `iss` accepted.
        audience: What `aud` must hold.
        algorithms: What may have signed; `none` never does. HMAC and public-key algorithms cannot be mixed: a public
            key would pass as an HMAC secret.

    The claims read are `tenant`, `groups`, `roles` (both lists of strings) and `sub`.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
    ) -> None:
        symmetric = {name.startswith("HS") for name in algorithms}
        if not algorithms or len(symmetric) > 1 or "none" in {name.lower() for name in algorithms}:
            raise SettingsInvalid("jwt_algorithms: name either HMAC or public-key algorithms, at least one, never none")
        if not issuer or not audience:
            raise SettingsInvalid("jwt_issuer and jwt_audience are required with auth=jwt")
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithms = tuple(algorithms)

    def authenticate(self, metadata: Mapping[str, str]) -> Identity:
        token = bearer(metadata)
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.key_for(_text(header.get("kid")))
            if key is None:
                raise _refused()
            claims = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=CLOCK_SKEW_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, TypeError) as exc:  # TypeError: the header names an algorithm that is not its key's
            raise _refused() from exc
        return _identity(claims)


def bearer(metadata: Mapping[str, str]) -> str:
    """The bearer credential of a call. Raises CredentialsMissing, or CredentialsInvalid for another kind."""
    header = metadata.get(CREDENTIALS_HEADER, "")
    if not header:
        raise CredentialsMissing('this call needs credentials: send "authorization: Bearer ..."')
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "bearer" or not value.strip() or len(header) > MAX_CREDENTIALS_CHARS:
        raise _refused()
    return value.strip()


def _identity(claims: Mapping[str, Any]) -> Identity:
    tenant = _text(claims.get("tenant"))
    if not tenant:
        raise _refused()
    roles = _texts(claims.get("roles")) & ROLES
    return Identity(tenant, _texts(claims.get("groups")), roles, _text(claims.get("sub")) or "")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> frozenset[str]:
    """A claim that should be a list of strings; anything else grants nothing."""
    return frozenset(item for item in value if isinstance(item, str)) if isinstance(value, list) else frozenset()


def _refused() -> CredentialsInvalid:
    return CredentialsInvalid("the credentials are not valid for this service; get new ones")
