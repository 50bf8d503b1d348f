"""Who is let in, as whom."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from chassis.auth import (
    ApiKeyAuthenticator,
    JwtAuthenticator,
    LocalAuthenticator,
    StaticKey,
    require,
)
from chassis.composition import build_authenticator
from chassis.errors import (
    BackendUnavailable,
    CredentialsInvalid,
    CredentialsMissing,
    PermissionDenied,
    SettingsInvalid,
)
from chassis.identity import LOCAL, ROLE_ADMIN, Identity
from chassis.jwks import JwksKeys
from chassis.settings import ServiceSettings, load

ISSUER, AUDIENCE = "https://issuer.example", "askmesh"
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(public_key) -> dict[str, str]:
    """A public key as issuers publish it, without the algorithm it is for."""
    kinds: dict[str, Any] = {
        "RSA": jwt.algorithms.RSAAlgorithm,
        "Ell": jwt.algorithms.ECAlgorithm,
        "ECP": jwt.algorithms.ECAlgorithm,
    }
    kind = kinds.get(type(public_key).__name__[:3], jwt.algorithms.OKPAlgorithm)
    found: dict[str, str] = json.loads(kind.to_jwk(public_key))
    return found


def bearer(value: str) -> dict[str, str]:
    return {"authorization": f"Bearer {value}"}


def token(*, key=KEY, algorithm: str = "ES256", headers=None, **changes) -> str:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": time.time() + 300,
        "sub": "ann",
        "tenant": "acme",
        "groups": ["staff"],
        "roles": ["ask", "ingest", "wizard"],
    }
    kept = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers=headers)


@pytest.fixture
def authenticator():
    return JwtAuthenticator(StaticKey(PUBLIC_PEM.decode()), issuer=ISSUER, audience=AUDIENCE, algorithms=("ES256",))


def test_an_embedded_installation_has_one_caller_who_may_do_everything():
    assert LocalAuthenticator().authenticate({}) == LOCAL


def test_a_missing_role_is_named():
    with pytest.raises(PermissionDenied) as refused:
        require(Identity("acme", roles=frozenset({"ask"})), ROLE_ADMIN)
    assert refused.value.metadata == {"role": "admin"}


def test_a_valid_token_tells_tenant_groups_known_roles_and_subject(authenticator):
    identity = authenticator.authenticate(bearer(token()))
    assert identity == Identity("acme", frozenset({"staff"}), frozenset({"ask", "ingest"}), "ann")


FORGED_PART = token().rsplit(".", 1)[0]

REFUSED_TOKENS = {
    "expired": token(exp=time.time() - 300),
    "without an expiry": token(exp=None),
    "for another service": token(aud="other"),
    "of another issuer": token(iss="https://evil.example"),
    "signed with another key": token(key=OTHER_KEY),
    "unsigned": jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 300, "tenant": "acme"}, "", "none"),
    "with its signature cut off": FORGED_PART + ".",
    "without a tenant": token(tenant=None),
    "with a tenant that is no text": token(tenant=["acme"]),
    "that is no token": "nonsense",
    "of a size no header has": "x" * 100_000,
}


@pytest.mark.parametrize("which", REFUSED_TOKENS)
def test_a_token_is_refused(authenticator, which):
    with pytest.raises(CredentialsInvalid) as refused:
        authenticator.authenticate(bearer(REFUSED_TOKENS[which]))
    assert refused.value.message == "the credentials are not valid for this service; get new ones"


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_public_key_cannot_be_used_as_an_hmac_secret(authenticator):
    import hmac  # noqa: PLC0415

    def part(value: dict[str, object]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 300, "tenant": "acme"}
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    signature = base64.urlsafe_b64encode(hmac.digest(PUBLIC_PEM, signed, "sha256")).rstrip(b"=")
    with pytest.raises(CredentialsInvalid):
        authenticator.authenticate(bearer((signed + b"." + signature).decode()))


ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
KEYS: dict[str, Any] = {
    "RSA": rsa.generate_private_key(65_537, 2_048),
    "EC": KEY,
    "EC P-384": ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def junk(header: object) -> str:
    """A token nobody signed, with a header of the caller's choice."""
    text = header if isinstance(header, str) else json.dumps(header)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode() + "." + FORGED_PART.split(".")[1] + ".AAAA"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", KEYS)
def test_an_unsigned_token_with_any_key_and_any_algorithm_is_refused(kind, algorithm):
    public = KEYS[kind].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    for key in (jwt.PyJWK.from_dict(jwk(public)).key, pem):
        authenticator = JwtAuthenticator(StaticKey(key), issuer=ISSUER, audience=AUDIENCE, algorithms=ALGORITHMS)
        with pytest.raises(CredentialsInvalid):
            authenticator.authenticate(bearer(junk({"alg": algorithm, "kid": "k-1"})))


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("RSA", "PS256"), ("EC", "ES256"), ("EC P-384", "ES384"), ("Ed25519", "EdDSA")]
)
def test_a_key_without_an_algorithm_of_its_own_verifies_what_the_settings_allow(kind, algorithm):
    key = jwt.PyJWK.from_dict(jwk(KEYS[kind].public_key())).key
    authenticator = JwtAuthenticator(StaticKey(key), issuer=ISSUER, audience=AUDIENCE, algorithms=ALGORITHMS)
    assert authenticator.authenticate(bearer(token(key=KEYS[kind], algorithm=algorithm))).tenant == "acme"


@pytest.mark.parametrize(
    "header",
    ["[" * 5_000, '{"alg":"ES256","kid":[]}', '{"alg":["ES256"]}', '{"alg":"ES256","kid":"\\ud800"}', "[]", "\x00"],
)
def test_a_token_whose_header_is_junk_is_refused(authenticator, header):
    with pytest.raises(CredentialsInvalid):
        authenticator.authenticate(bearer(junk(header)))


@pytest.mark.parametrize("algorithms", [(), ("none",), ("HS256", "RS256"), ("None", "RS256")])
def test_algorithms_that_would_open_a_hole_are_refused_at_start(algorithms):
    with pytest.raises(SettingsInvalid):
        JwtAuthenticator(StaticKey("x"), issuer=ISSUER, audience=AUDIENCE, algorithms=algorithms)


def test_a_claim_of_the_wrong_shape_grants_nothing(authenticator):
    identity = authenticator.authenticate(bearer(token(groups="staff", roles={"admin": True})))
    assert (identity.groups, identity.roles) == (frozenset(), frozenset())


def keys_file(tmp_path, content: object):
    path = tmp_path / "keys.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def entry(key: str, **changes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": "acme"} | changes


def test_an_api_key_is_found_by_its_hash(tmp_path):
    path = keys_file(tmp_path, [entry("k-1"), entry("k-2", tenant="other", roles=["ingest", "wizard"], groups=["g"])])
    identity = ApiKeyAuthenticator.from_file(path).authenticate(bearer("k-2"))
    assert identity == Identity("other", frozenset({"g"}), frozenset({"ingest"}), "")


def test_a_key_without_roles_may_ask(tmp_path):
    authenticator = ApiKeyAuthenticator.from_file(keys_file(tmp_path, [entry("k-1")]))
    assert authenticator.authenticate(bearer("k-1")).roles == {"ask"}


@pytest.mark.parametrize("header", [{}, {"authorization": ""}])
def test_no_credentials_are_missing_ones(tmp_path, header):
    with pytest.raises(CredentialsMissing):
        ApiKeyAuthenticator.from_file(keys_file(tmp_path, [entry("k-1")])).authenticate(header)


@pytest.mark.parametrize("value", ["Bearer k-9", "Basic k-1", "Bearer", "Bearer  ", "k-1"])
def test_other_credentials_are_invalid_ones(tmp_path, value):
    with pytest.raises(CredentialsInvalid):
        ApiKeyAuthenticator.from_file(keys_file(tmp_path, [entry("k-1")])).authenticate({"authorization": value})


@pytest.mark.parametrize(
    "content", ["{", "[1]", '[{"sha256": "hunter2", "tenant": "t"}]', '[{"key": "hunter2"}]', "\x00"]
)
def test_a_keys_file_that_is_wrong_is_refused_without_being_quoted(tmp_path, content):
    with pytest.raises(SettingsInvalid) as refused:
        ApiKeyAuthenticator.from_file(keys_file(tmp_path, content))
    assert "hunter2" not in refused.value.message


def test_a_keys_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SettingsInvalid):
        ApiKeyAuthenticator.from_file(tmp_path / "none.json")


class Issuer:
    """An issuer's key endpoint, with keys and health that tests change."""

    def __init__(self) -> None:
        self.keys = {"k-1": KEY}
        self.is_up = True
        self.requests = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if not self.is_up:
            return httpx.Response(503)
        return httpx.Response(200, json={"keys": [self._jwk(kid, key) for kid, key in self.keys.items()]})

    def _jwk(self, key_id: str, key) -> dict[str, str]:
        return jwk(key.public_key()) | {"kid": key_id, "alg": "ES256"}


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
async def keys(issuer):
    async with httpx.AsyncClient(transport=httpx.MockTransport(issuer)) as client:
        yield JwksKeys(client, "https://issuer.example/keys")


async def test_an_issuer_s_keys_verify_tokens_by_their_key_id(keys):
    authenticator = JwtAuthenticator(keys, issuer=ISSUER, audience=AUDIENCE, algorithms=("ES256",))
    await keys.refresh()
    assert authenticator.authenticate(bearer(token(headers={"kid": "k-1"}))).tenant == "acme"
    with pytest.raises(CredentialsInvalid):
        authenticator.authenticate(bearer(token(headers={"kid": "k-2"})))


async def test_before_any_keys_are_loaded_callers_are_told_to_retry_and_not_that_they_are_wrong(keys, issuer):
    issuer.is_up = False
    await keys.refresh()
    with pytest.raises(BackendUnavailable):
        keys.key_for("k-1")


async def test_an_issuer_that_goes_away_leaves_the_keys_it_gave(keys, issuer):
    await keys.refresh()
    issuer.is_up = False
    assert await keys.refresh() is False
    assert keys.key_for("k-1") is not None


async def test_a_key_that_is_new_is_found_after_a_refresh(keys, issuer):
    await keys.refresh()
    issuer.keys["k-2"] = OTHER_KEY
    assert keys.key_for("k-2") is None
    await keys.refresh()
    assert keys.key_for("k-2") is not None


@pytest.mark.parametrize(
    "given",
    [
        {"auth": "api-key"},
        {"auth": "jwt", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE},
        {"auth": "jwt", "jwt_key": "x"},
    ],
)
async def test_settings_that_lack_what_their_kind_of_credentials_needs_are_refused(given):
    with pytest.raises(SettingsInvalid):
        async with build_authenticator(load(ServiceSettings, **given)):
            raise AssertionError("it must not open")


async def test_settings_choose_the_authenticator(tmp_path):
    path = keys_file(tmp_path, [entry("k-1")])
    async with build_authenticator(load(ServiceSettings, auth="api-key", api_keys_file=path)) as authenticator:
        assert authenticator.authenticate(bearer("k-1")).tenant == "acme"
    given = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_key": PUBLIC_PEM.decode(), "jwt_algorithms": "ES256"}
    async with build_authenticator(load(ServiceSettings, auth="jwt", **given)) as authenticator:
        assert authenticator.authenticate(bearer(token())).subject == "ann"
    assert asyncio.all_tasks() == {asyncio.current_task()}
