"""The page and the docs: files read once at start and served from memory by name.

Path traversal cannot happen: a request is looked up in a table of the names that were found, and opens nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.exchange import Exchange

# Types browsers insist on under nosniff; what is not listed is not served.
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
PAGE_HEADERS = (
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("cache-control", "no-cache"),  # keep it, but ask each time: the ETag makes that cheap
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file, ready to send."""

    body: bytes
    content_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, content_type: str) -> PageFile:
        return cls(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    async def serve(self, exchange: Exchange) -> None:
        """The file, or 304 when the caller has it."""
        headers = (*PAGE_HEADERS, ("etag", self.etag))
        if self.etag in tags(exchange.headers.get("if-none-match", "")):
            await exchange.respond(304, headers=headers)
        else:
            await exchange.respond(200, self.body, self.content_type, headers)


def tags(header: str) -> set[str]:
    """The entity tags of If-None-Match; weak ones compare as strong (RFC 9110, 13.1.2)."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def files_under(folder: Path, prefix: str) -> Iterator[tuple[str, PageFile]]:
    """Path -> file for every servable file; a folder's index.html is the folder's own path too."""
    for file in sorted(folder.rglob("*")):
        content_type = CONTENT_TYPES.get(file.suffix.lower())
        if content_type is None or not file.is_file():
            continue
        found = PageFile.of(file.read_bytes(), content_type)
        path = f"{prefix}/{file.relative_to(folder).as_posix()}"
        yield path, found
        if file.name == "index.html":
            parent = path.removesuffix("index.html")
            yield parent, found
            if parent != "/":
                yield parent.removesuffix("/"), found
