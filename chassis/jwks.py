"""An issuer's public keys, kept in memory and refreshed beside the calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import httpx
import jwt

from chassis.errors import BackendUnavailable

REFRESH_S: Final = 300.0  # issuers publish a key well before they sign with it
RETRY_S: Final = 2.0  # while there are no keys, and at most this often because of an unknown one
FETCH_TIMEOUT_S: Final = 5.0
MAX_BODY_BYTES: Final = 256 * 1024

_log = logging.getLogger(__name__)


class JwksKeys:
    """Keys by id, read from memory. An unknown id asks for a refresh, at most every `RETRY_S`."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._keys: Mapping[str, Any] = {}
        self._wanted = asyncio.Event()

    def key_for(self, key_id: str | None) -> Any | None:
        if not self._keys:
            raise BackendUnavailable("the issuer's keys are not loaded yet; try again", retry_after_s=RETRY_S)
        found = self._keys.get(key_id) if key_id is not None else self._only()
        if found is None:
            self._wanted.set()
        return found

    async def refresh(self) -> bool:
        """Load the keys; keeps the old ones when that fails."""
        try:
            response = await self._client.get(self._url, timeout=FETCH_TIMEOUT_S)
            response.raise_for_status()
            if len(response.content) > MAX_BODY_BYTES:
                raise ValueError("too large")
            keys = {key.key_id: key.key for key in jwt.PyJWKSet.from_dict(response.json()).keys if key.key_id}
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, AttributeError) as exc:
            _log.warning("the issuer's keys could not be loaded", extra={"error_type": type(exc).__name__})
            return False
        self._keys = keys
        return True

    async def keep_fresh(self) -> None:
        """Refresh for ever: by the clock, sooner when a key is missing."""
        while True:
            is_loaded = await self.refresh()
            await asyncio.sleep(RETRY_S)
            self._wanted.clear()
            if is_loaded:
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_S):
                        await self._wanted.wait()

    def _only(self) -> Any | None:
        """For tokens without a key id: the key, if there is no choice."""
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None


@asynccontextmanager
async def jwks_keys(url: str) -> AsyncIterator[JwksKeys]:
    """Keys from a URL, loaded now if the issuer answers, refreshed until the block ends."""
    async with httpx.AsyncClient(follow_redirects=False) as client:
        keys = JwksKeys(client, url)
        await keys.refresh()
        task = asyncio.create_task(keys.keep_fresh(), name="jwks")
        try:
            yield keys
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
