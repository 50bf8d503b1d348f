"""askmesh rig: the real servers on this machine, without containers."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import click

from askmesh.rig.catalogue import PARTS
from askmesh.rig.cluster import MEMBERS, Running, running_cluster
from askmesh.rig.part import RigMissing
from askmesh.rig.process import RigFailed
from askmesh.rig.state import published


@click.group()
def command() -> None:
    """Show and start the real servers that tests use; `make rig` builds them."""


@command.command()
def status() -> None:
    """Show which servers are here, and in which version."""
    for part in PARTS:
        click.echo(f"{part.name:<11} {part.version:<14} {part.find() or 'missing: make rig ARGS=' + part.name}")


@command.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(MEMBERS)))
@click.option("--data", type=click.Path(path_type=Path), help="Folder that keeps their data; else it goes with them.")
@click.option("--env", "env_file", type=click.Path(path_type=Path), help="Write the settings to this file as well.")
@click.option("--mesh", "has_mesh", is_flag=True, help="The whole system: our services too, each with its sidecar.")
def up(*, names: tuple[str, ...], data: Path | None, env_file: Path | None, has_mesh: bool) -> None:
    """Start a local cluster of NAMES, without any all but the reranker, and print its settings; Ctrl-C stops it."""
    if has_mesh and (names or env_file):
        raise click.UsageError("--mesh starts everything and has no settings to print")
    try:
        asyncio.run(_up_mesh(data) if has_mesh else _up(names, data, env_file))
    except (RigMissing, RigFailed) as failure:
        raise click.ClickException(str(failure)) from None


async def _up_mesh(data: Path | None) -> None:
    from askmesh.rig.mesh_system import running_mesh_system
    from chassis.lifecycle import stop_signals

    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="askmesh-mesh-")))
        system = await stack.enter_async_context(running_mesh_system(folder.resolve()))
        for line in system.description():
            click.echo(line)
        await stop.wait()


async def _up(names: tuple[str, ...], data: Path | None, env_file: Path | None) -> None:
    from chassis.lifecycle import stop_signals

    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="askmesh-rig-")))
        cluster = await stack.enter_async_context(running_cluster(folder.resolve(), names))
        is_found = stack.enter_context(published(cluster.members))
        _say(cluster, env_file, is_found=is_found)
        await stop.wait()


def _say(cluster: Running, env_file: Path | None, *, is_found: bool) -> None:
    exports = "".join(f"export {name}={value}\n" for name, value in cluster.settings.items())
    if env_file:
        env_file.touch(mode=0o600)  # it holds a secret
        env_file.write_text(exports)
    for server in cluster.servers.values():
        click.echo(f"# {server.name} {server.version} at {server.url}, log {server.log}")
    click.echo(exports, nl=False)
    click.echo("# Use these where you start askmesh. Ctrl-C stops the servers.")
    if is_found:
        click.echo("# Or, in another shell: make up ARGS='--profile cluster --once'")
    else:
        click.echo("# Another `askmesh rig up` runs: --profile cluster means that one.")
