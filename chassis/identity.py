"""Who is asking: a plain value that travels with a call. How it is verified is chassis.auth's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EVERYBODY: Final = "*"
"""The reserved group of a whole tenant (design.md section 4)."""

ROLE_ASK: Final = "ask"  # retrieve, ask, read documents
ROLE_INGEST: Final = "ingest"  # write and delete documents, evict answers
ROLE_ADMIN: Final = "admin"  # delete collections
ROLE_OPERATOR: Final = "operator"  # verify, repair, reindex, migrate, export and import
ROLES: Final = frozenset({ROLE_ASK, ROLE_INGEST, ROLE_ADMIN, ROLE_OPERATOR})


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller.

    Attributes:
        tenant: The one tenant the caller belongs to; every read and write stays inside it.
        groups: The caller's groups, without the implied `EVERYBODY`.
        roles: What the caller may do (`ROLE_*`).
        subject: Who it is, for audit records; never a metric label.
    """

    tenant: str
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    subject: str = ""

    @property
    def readable_groups(self) -> tuple[str, ...]:
        """The groups whose documents the caller may read, sorted: its own and everybody's."""
        return tuple(sorted({*self.groups, EVERYBODY}))


LOCAL: Final = Identity(tenant="local", roles=ROLES, subject="local")
"""The single caller of an embedded installation without credentials."""
