"""The command line: `askmesh up | serve ROLE | ask | search | ingest | documents | eval | doctor | rig`.

Commands are imported when they are called, so that `askmesh ask` does not wait for what only the servers need.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

_COMMANDS = {
    "up": "askmesh.commands.up",
    "serve": "askmesh.commands.serve",
    "ask": "askmesh.commands.ask",
    "search": "askmesh.commands.search",
    "ingest": "askmesh.commands.ingest",
    "documents": "askmesh.commands.documents",
    "collections": "askmesh.commands.collections",
    "eval": "askmesh.commands.evaluate",
    "doctor": "askmesh.commands.doctor",
    "rig": "askmesh.commands.rig",
}


class _Lazy(click.Group):
    """Finds its commands by module, so that help and completion work and start-up stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's own signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="askmesh")
def root() -> None:
    """Cited answers from your own documents.

    Start with `askmesh up`, then `askmesh ask "..."`. Exit codes: 0 done, 2 usage, 3 invalid, 4 not found, 5 refused,
    6 unavailable, 7 deadline, 8 some documents failed, 9 the sources do not answer, 10 faults that are not repaired.
    """


def main() -> None:
    """Run the command line and exit with its code; every askmesh error is one readable line, never a traceback."""
    # One BLAS thread: a search over 100k vectors otherwise spins 28 ms of CPU for 8 ms of wall (measured). NumPy reads
    # it when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from askmesh import exits
    from askmesh.output import print_error
    from chassis.errors import RagError

    try:
        code = root.main(standalone_mode=False)  # what click.exceptions.Exit carried; None from a command that ended
        sys.exit(code or exits.OK)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(exits.INTERRUPTED)
    except RagError as error:
        print_error(error)
        sys.exit(exits.code_of(error))
