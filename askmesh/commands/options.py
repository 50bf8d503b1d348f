"""Options that several commands share."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from askmesh.client import DEFAULT_TARGET, AsyncClient
from askmesh.filters import Condition, parse_condition

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to ask, as whom, for how long, and how to print."""

    target: str
    collection: str
    token: str
    timeout_s: float
    output: str

    def client(self) -> AsyncClient:
        """A client for it; to be made inside an event loop."""
        return AsyncClient(self.target, collection=self.collection, token=self.token, timeout_s=self.timeout_s)

    @property
    def is_json(self) -> bool:
        return self.output == "json"


def connection(command: F) -> F:
    """--target, --collection, --token, --timeout and -o, handed to the command as one `connection`."""

    @functools.wraps(command)
    def wrapped(*, target: str, collection: str, token: str, timeout_s: float, output: str, **rest: object) -> object:
        # `askmesh ask ... | head -1` ends quietly, as other commands do. Not for servers: a closed connection must not
        # end them.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        return command(connection=Connection(target, collection, token, timeout_s, output), **rest)

    made: Any = wrapped
    for option in reversed(_CONNECTION):
        made = option(made)
    return made  # type: ignore[no-any-return]  # click's decorators keep the callable


_CONNECTION = (
    click.option(
        "--target", envvar="ASKMESH_CLIENT_TARGET", default=DEFAULT_TARGET, show_default=True, help="gRPC address."
    ),
    click.option("--collection", "-c", envvar="ASKMESH_CLIENT_COLLECTION", default="docs", show_default=True),
    click.option("--token", envvar="ASKMESH_CLIENT_TOKEN", default="", help="API key or JWT."),
    click.option("--timeout", "timeout_s", default=30.0, show_default=True, help="Deadline in seconds."),
    click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True),
)


def filters(command: F) -> F:
    """--filter, repeatable: every condition must hold."""
    return click.option(
        "--filter",
        "-f",
        "conditions",
        multiple=True,
        help='A condition such as year>=2024, source=handbook, "lang in en,de", "year exists"; all must hold.',
    )(command)


def all_of(conditions: tuple[str, ...]) -> Condition | None:
    """The conditions joined by `and`; None when there are none. Raises FilterInvalid."""
    joined: Condition | None = None
    for text in conditions:
        condition = parse_condition(text)
        joined = condition if joined is None else joined & condition
    return joined
