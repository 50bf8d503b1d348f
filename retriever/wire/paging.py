"""Page tokens (AIP-158): opaque, tamper-evident, and bound to the request and the caller they were given to."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from google.protobuf.message import Message

from chassis.errors import FieldViolation, PageTokenInvalid
from chassis.identity import Identity

MAC_BYTES: Final = 16  # 128 bits: a guess is hopeless, a token stays short
MAX_TOKEN_CHARS: Final = 4_096  # the longest document id in UTF-8, encoded, is 2,752


class PageTokens:
    """Makes and reads tokens.

    Args:
        key: Signs them; every replica needs the same one.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, request: Message, identity: Identity, after: str) -> str:
        """A token for the page behind `after` of this request."""
        payload = after.encode()
        return base64.urlsafe_b64encode(self._mac(request, identity, payload) + payload).decode().rstrip("=")

    def read(self, request: Message, identity: Identity, token: str) -> str:
        """Where the page begins; "" for the first. Raises PageTokenInvalid."""
        if not token:
            return ""
        try:
            if len(token) > MAX_TOKEN_CHARS:
                raise _refused()
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(request, identity, payload)):
                raise _refused()
            return payload.decode()
        except (binascii.Error, ValueError):
            raise _refused() from None

    def _mac(self, request: Message, identity: Identity, payload: bytes) -> bytes:
        bound = type(request)()
        bound.CopyFrom(request)
        bound.ClearField("page_token")
        caller = "\n".join((identity.tenant, *identity.readable_groups)).encode()
        parts = (request.DESCRIPTOR.full_name.encode(), bound.SerializeToString(deterministic=True), caller, payload)
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in parts:
            mac.update(len(part).to_bytes(8, "big"))
            mac.update(part)
        return mac.digest()[:MAC_BYTES]


def _refused() -> PageTokenInvalid:
    problem = "was not given for this request: start at the first page"
    return PageTokenInvalid(f"page_token: {problem}", [FieldViolation("page_token", problem)])
