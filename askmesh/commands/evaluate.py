"""askmesh eval: retrieval and answer quality against the thresholds."""

from __future__ import annotations

import click

from askmesh import exits


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(*, arguments: tuple[str, ...]) -> None:
    """Measure quality on the evaluation data (ASKMESH_EVAL_DATA); exits with 1 when a threshold is missed.

    ARGUMENTS are passed on: `askmesh eval retrieval`, `chunking`, `answers`, `cache`; none means all.
    """
    from bench.quality.__main__ import main  # heavy: only when asked for

    if main(list(arguments)) != exits.OK:
        raise click.exceptions.Exit(exits.FAILED)
