"""Which snapshot mirror a retriever keeps: the arms of `settings.mirror`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from chassis.errors import SettingsInvalid
from chassis.mirror import Mirror
from retriever.settings import RetrieverSettings


@dataclass(frozen=True, slots=True)
class KeptMirror:
    """Attributes: mirror: None: this process keeps none. mark: its name in heads, "" without one."""

    mirror: Mirror | None = None
    mark: str = ""


def open_mirror(settings: RetrieverSettings, stack: AsyncExitStack) -> KeptMirror:
    """Opens no connection: a Redis that is down at the start is down like any other time.

    Raises:
        SettingsInvalid: mirror=redis without an address or a secret, or with a URL that is none.
    """
    match settings.mirror:
        case "off":
            return KeptMirror()
        case "redis":
            return _redis(settings, stack)


def _redis(settings: RetrieverSettings, stack: AsyncExitStack) -> KeptMirror:
    # Imported here: the client is installed with askmesh[cluster] only.
    from chassis.redis_client import MIN_SECRET_CHARS, open_redis  # noqa: PLC0415
    from chassis.redis_mirror import RedisMirrorStore  # noqa: PLC0415
    from chassis.sealed_mirror import SealedMirrorStore, mark_of  # noqa: PLC0415

    secret = settings.redis_secret.get_secret_value()
    if len(secret) < MIN_SECRET_CHARS:
        raise SettingsInvalid(
            f"ASKMESH_RETRIEVER_REDIS_SECRET: {MIN_SECRET_CHARS} characters or more are required with mirror=redis"
        )
    if not settings.redis_url.get_secret_value():
        raise SettingsInvalid("ASKMESH_RETRIEVER_REDIS_URL is required with mirror=redis")
    try:
        client = open_redis(settings.redis_url.get_secret_value(), timeout_s=settings.redis_timeout_ms / 1_000)
    except ValueError:
        # Without its cause: the driver's words hold the URL, and the URL a password.
        raise SettingsInvalid("ASKMESH_RETRIEVER_REDIS_URL is not a URL of Redis") from None
    stack.push_async_callback(client.aclose)
    return KeptMirror(Mirror(SealedMirrorStore(RedisMirrorStore(client), secret.encode())), mark_of(secret.encode()))
