"""An event loop whose time is a number: waiting for a timer jumps to it, so that a test of 30 seconds takes none."""

from __future__ import annotations

import asyncio
import functools
import selectors


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("every task waits and no timer is set: this would hang")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(self, executor, func, *args):  # type: ignore[override]  # untyped, as tests are
        """At once: a thread would be overtaken by the jumping time."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:  # noqa: BLE001  # as an executor does: the waiter gets it
            future.set_exception(exc)
        return future


def virtual(test):
    """Run a test on virtual time; by decorator, because other suites of this folder live in real time."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def now() -> float:
    """The virtual time, as a Clock."""
    return asyncio.get_running_loop().time()
