"""askmesh collections: list, delete, export, import, verify, reindex, roll back and migrate collections."""

from __future__ import annotations

import asyncio

import click

from askmesh.commands import upkeep
from askmesh.commands.archives import export_command, import_command
from askmesh.commands.options import Connection, connection
from askmesh.documents import Collection
from askmesh.output import console, print_json, table


@click.group()
def command() -> None:
    """List, delete and keep collections in order."""


command.add_command(export_command)
command.add_command(import_command)


@command.command("list")
@connection
def list_(*, connection: Connection) -> None:
    """List your tenant's collections."""

    async def run() -> list[Collection]:
        async with connection.client() as client:
            return [item async for item in client.collections()]

    found = asyncio.run(run())
    if connection.is_json:
        print_json(found)
        return
    rows = [
        (item.collection, item.document_count, item.chunk_count, item.generation, item.embedder_fingerprint or "-")
        for item in found
    ]
    console.print(
        table(
            f"{len(rows)} collections",
            ("name", "documents", "chunks", "generation", "embedder"),
            rows,
        )
    )


@command.command()
@click.argument("name")
@connection
@click.confirmation_option(prompt="Delete the collection with all its documents?")
def delete(*, name: str, connection: Connection) -> None:
    """Delete the collection NAME with all its documents."""

    async def run() -> None:
        async with connection.client() as client:
            await client.delete_collection(name)

    asyncio.run(run())
    if connection.is_json:
        print_json({"deleted": name})
    else:
        console.print(f"Deleted {name}.", markup=False)


for each in upkeep.COMMANDS:
    command.add_command(each)
