"""Asks a starting server of the rig whether it is ready."""

from __future__ import annotations

import asyncio
import http
import ssl
import urllib.error
import urllib.request

ASKED_S = 5.0


async def answers(url: str) -> bool:
    """True when it says 200. Its certificate is its own and not looked at. OSError: nobody listens."""
    return await asyncio.to_thread(_answers, url)


def _answers(url: str) -> bool:
    unverified = ssl._create_unverified_context()  # noqa: S323, SLF001  # our own server, on the loopback
    try:
        with urllib.request.urlopen(url, timeout=ASKED_S, context=unverified) as answer:  # noqa: S310  # http or https
            return bool(answer.status == http.HTTPStatus.OK)
    except urllib.error.HTTPError:
        return False
