"""From start to SIGTERM: one event loop, one composition root, one orderly end.

The first SIGTERM or SIGINT leaves the composition root's block, which closes everything in reverse order (servers
drain). A second one stops waiting for that.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final

import uvloop

from chassis.errors import RagError

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
EXIT_FORCED: Final = 1  # a second signal: open calls were not waited for
EXIT_REFUSED: Final = 2  # it could not start, and said why

_log = logging.getLogger(__name__)


def run(build: Callable[[], AbstractAsyncContextManager[object]]) -> int:
    """Run what `build` opens until a signal; returns the exit code.

    A RagError while starting (settings, a taken port, a locked folder) is one line on stderr, not a traceback.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(build))
    except RagError as error:
        print(f"{error.reason}: {error.message}", file=sys.stderr)  # noqa: T201  # the answer to whoever started it
        return EXIT_REFUSED
    except asyncio.CancelledError:  # only a second signal cancels the whole
        return EXIT_FORCED
    except KeyboardInterrupt:  # before the signals were ours
        return 128 + signal.SIGINT


async def _serve(build: Callable[[], AbstractAsyncContextManager[object]]) -> int:
    with stop_signals() as stop:
        async with build():
            _log.info("ready")
            await stop.wait()
            _log.info("stopping")
    _log.info("stopped")
    return 0


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event the first signal sets; the second one cancels the current task."""
    loop, stop, task = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()
    assert task is not None, "signals stop a task"

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
