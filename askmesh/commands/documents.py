"""askmesh documents: list, show and delete what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import click

from askmesh import exits
from askmesh.client import AsyncClient
from askmesh.commands.options import Connection, all_of, connection, filters
from askmesh.documents import Document
from askmesh.output import console, errors, print_json, table
from chassis.errors import DocumentNotFound, RagError

T = TypeVar("T")


@click.group()
def command() -> None:
    """List, show and delete documents."""


@command.command("list")
@connection
@filters
def list_(
    *,
    connection: Connection,
    conditions: tuple[str, ...],
) -> None:
    """List the documents you may read, by id."""
    condition = all_of(conditions)

    async def read(client: AsyncClient) -> list[Document]:
        return [document async for document in client.documents(filter=condition)]

    documents = _with_client(connection, read)
    if connection.is_json:
        print_json(documents)
        return
    rows = [
        (
            item.document_id,
            item.title,
            item.source,
            item.chunk_count,
            item.text_chars,
            " ".join(item.groups),
        )
        for item in documents
    ]
    console.print(
        table(
            f"{len(rows)} documents in {connection.collection}",
            ("id", "title", "source", "chunks", "characters", "groups"),
            rows,
        )
    )


@command.command()
@click.argument("document_id")
@connection
@click.option("--text", "with_text", is_flag=True, help="Print the extracted text that citations point into.")
def show(
    *,
    document_id: str,
    connection: Connection,
    with_text: bool,
) -> None:
    """Show one document."""
    document = _with_client(connection, lambda client: client.document(document_id, with_text=with_text))
    if with_text and not connection.is_json:
        print(document.text)
        return
    print_json(document)


@command.command()
@click.argument("document_ids", nargs=-1, required=True)
@connection
def delete(
    *,
    document_ids: tuple[str, ...],
    connection: Connection,
) -> None:
    """Delete documents; they are gone for every ask that starts afterwards.

    Ids that are not there are reported and the others deleted all the same; the exit code is then 4.
    """
    outcomes: dict[str, int | RagError] = {}  # what was done, also when something ends it half-way
    try:
        _with_client(connection, lambda client: _delete(client, document_ids, connection, outcomes))
    finally:
        if connection.is_json:
            print_json({name: _plain(outcome) for name, outcome in outcomes.items()})
    if any(isinstance(outcome, DocumentNotFound) for outcome in outcomes.values()):
        raise click.exceptions.Exit(exits.NOT_FOUND)


async def _delete(
    client: AsyncClient, names: Iterable[str], connection: Connection, outcomes: dict[str, int | RagError]
) -> None:
    """Fill the outcomes and report each as it happens; whatever but a missing document ends it."""
    for name in dict.fromkeys(names):
        try:
            outcomes[name] = generation = await client.delete(name)
            if not connection.is_json:
                console.print(f"Deleted {name} (generation {generation}).", markup=False)
        except DocumentNotFound as error:
            outcomes[name] = error
            errors.print(f"{name}: {error.reason}: {error.message}", markup=False)
        except RagError as error:
            outcomes[name] = error
            raise error.at(name) from None


def _plain(outcome: int | RagError) -> object:
    """The generation, or what was wrong."""
    return {"reason": outcome.reason, "message": outcome.message} if isinstance(outcome, RagError) else outcome


def _with_client(connection: Connection, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connection.client() as client:
            return await work(client)

    return asyncio.run(run())
