"""askmesh serve: one service of a cluster in this process."""

from __future__ import annotations

import logging

import click

from askmesh.output import errors
from chassis.lifecycle import stop_signals

_log = logging.getLogger(__name__)


@click.command()
@click.argument("role", type=click.Choice(["retriever", "orchestrator", "gateway"]))
def command(*, role: str) -> None:
    """Serve ROLE until SIGTERM; its settings are its environment's ASKMESH_<ROLE>_ variables."""
    import uvloop

    uvloop.run(_serve(role))


async def _serve(role: str) -> None:
    from askmesh.serve import serving

    with stop_signals() as stop:
        async with serving(role) as address:
            errors.print(f"askmesh {role} serves at {address}", markup=False)
            await stop.wait()
            _log.info("stopping")
    _log.info("stopped")
