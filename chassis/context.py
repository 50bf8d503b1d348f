"""The call being served: who asks, under which id, and how much time is left. Set once, by the frame around a call.

Rule 1: the context is ambient only for the chassis's own needs (relaying on outgoing calls, log lines). Domain code
        gets identity and budget as arguments from its service.
Rule 2: what is relayed is what came in, checked for shape: an id or variant that is not well formed is replaced or
        dropped, credentials that gRPC cannot carry are refused.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from chassis.budget import Budget
from chassis.errors import CredentialsInvalid
from chassis.identity import Identity

REQUEST_ID_HEADER: Final = "x-request-id"
CREDENTIALS_HEADER: Final = "authorization"
VARIANT_HEADER: Final = "x-askmesh-variant"
MAX_CREDENTIALS_CHARS: Final = 8_192  # with the other headers it stays within chassis.channel's MAX_METADATA_BYTES

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.\-]{1,64}")  # as AskRequest.request_id is documented
_VARIANT = re.compile(r"[a-z0-9\-]{1,16}")  # v1, v2: a mesh subset's name


@dataclass(frozen=True, slots=True)
class CallContext:
    """What one call carries along.

    Attributes:
        request_id: The caller's own id, or one made here; quoted in errors and logs.
        identity: The verified caller.
        credentials: The authorization header as it came, relayed to our own services and never printed.
        variant: The release variant drawn for this ask ("" = none); relayed so that later hops stay in it.
        budget: The caller's deadline.
        arrived_at: When the call came in, by the budget's clock: what it waited for its turn is counted from here.
    """

    request_id: str
    identity: Identity
    credentials: str = field(repr=False)
    variant: str
    budget: Budget
    arrived_at: float = 0.0


_current: ContextVar[CallContext] = ContextVar("askmesh_call")


def current() -> CallContext:
    """The call being served. Raises LookupError outside of one."""
    return _current.get()


def peek() -> CallContext | None:
    """The call being served, or None outside of one."""
    return _current.get(None)


@contextmanager
def use(context: CallContext) -> Iterator[CallContext]:
    """Make `context` the current one within a block: the server's frame, the gateway, and code without a server."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def new_request_id() -> str:
    """A fresh id: 128 random bits, as a trace id has."""
    return secrets.token_hex(16)


def accepted_request_id(offered: str) -> str:
    """The caller's id when it is well formed, else a new one (a header must not reach a log line unchecked)."""
    return offered if _REQUEST_ID.fullmatch(offered) else new_request_id()


def accepted_variant(offered: str) -> str:
    """The variant when it is well formed, else none."""
    return offered if _VARIANT.fullmatch(offered) else ""


def are_carried(credentials: str) -> bool:
    """Whether gRPC carries them; what is no printable ASCII (a curly quote, a tab) never begins a call, nor ends it."""
    return credentials.isascii() and credentials.isprintable() and len(credentials) <= MAX_CREDENTIALS_CHARS


def accepted_credentials(offered: str) -> str:
    """The authorization header when gRPC can carry it. Raises CredentialsInvalid."""
    if not are_carried(offered):
        raise CredentialsInvalid(
            f"{CREDENTIALS_HEADER}: printable ASCII of at most {MAX_CREDENTIALS_CHARS} characters is expected"
        )
    return offered
