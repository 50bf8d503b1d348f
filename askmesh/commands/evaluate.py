"""askmesh eval: retrieval and answer quality against the thresholds."""

from __future__ import annotations

import click

from askmesh import exits


# No help of click's: the options are those of bench.quality, which tells them itself.
@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(*, arguments: tuple[str, ...]) -> None:
    """Measure quality on the evaluation data (ASKMESH_EVAL_DATA); exits with 1 when a threshold is missed."""
    from bench.quality.__main__ import main  # heavy: only when asked for

    if main(list(arguments)) != exits.OK:
        raise click.exceptions.Exit(exits.FAILED)
