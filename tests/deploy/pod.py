"""Containers in one network of their own, as the containers of a pod: bubblewrap around an image's file system.

Each has what the manifests give it: its image's environment and command, a read-only root, a /tmp of its own, a numeric
user without any capability, a process namespace in which it is number 1. The network has loopback and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.deploy.image_store import Store

START_LIMIT_S = 300.0  # two busy cores; alone it takes 2 s


@dataclass
class Container:
    process: subprocess.Popen[str]
    pid: int
    said: list[str] = field(default_factory=list)

    def wait_for(self, words: str) -> str:
        """The first line with these words; the process' end is a failure."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if words in line:
                return line
        raise AssertionError(f"it ended without saying {words!r}:\n" + "\n".join(self.said))

    def stop(self, limit_s: float) -> int:
        """SIGTERM to process 1 and nobody else, as a kubelet does; the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        _, rest = self.process.communicate(timeout=limit_s)
        self.said += rest.splitlines()
        return self.process.returncode


@dataclass
class Pod:
    store: Store
    network: int
    stack: ExitStack
    roots: dict[str, Path] = field(default_factory=dict)

    def start(self, image: str, **environment: str) -> Container:
        """Start the image's own command."""
        config = self.store.inspect(image)["OCIv1"]["config"]
        line = [*config["Entrypoint"], *config["Cmd"]]
        process, information = self._spawn(image, line, environment, stderr=subprocess.PIPE)
        return Container(process, _child(information))

    def run(self, image: str, *arguments: str, mounts: Mapping[Path, str] | None = None, **environment: str) -> str:
        """Run the image's entry point with these arguments to its end; its output."""
        config = self.store.inspect(image)["OCIv1"]["config"]
        line = [*config["Entrypoint"], *arguments]
        process, information = self._spawn(image, line, environment, stderr=subprocess.STDOUT, mounts=mounts)
        _child(information)  # read, or bubblewrap ends when it writes it
        said, _ = process.communicate(timeout=START_LIMIT_S)
        assert process.returncode == 0, said
        return said

    def probe(self, image: str, code: str) -> str:
        """Run Python in the image; its output."""
        process, information = self._spawn(image, ["python", "-c", code], {}, stderr=subprocess.STDOUT)
        _child(information)  # read, or bubblewrap ends when it writes it
        said, _ = process.communicate(timeout=START_LIMIT_S)
        assert process.returncode == 0, said
        return said

    def _spawn(
        self,
        image: str,
        line: list[str],
        environment: Mapping[str, str],
        *,
        stderr: int,
        mounts: Mapping[Path, str] | None = None,
    ) -> tuple[subprocess.Popen[str], IO[str]]:
        config = self.store.inspect(image)["OCIv1"]["config"]
        if image not in self.roots:
            self.roots[image] = self.stack.enter_context(self.store.root(image))
        reading, writing = os.pipe()
        command = ["nsenter", f"--net=/proc/{self.network}/ns/net", "bwrap"]
        command += [*_isolation(self.roots[image], config), "--info-fd", str(writing)]
        for source, target in (mounts or {}).items():
            command += ["--ro-bind", str(source), target]
        for name, value in environment.items():
            command += ["--setenv", name, value]
        process = subprocess.Popen(
            [*command, "--", *line], stdout=subprocess.PIPE, stderr=stderr, text=True, pass_fds=[writing]
        )
        os.close(writing)
        self.stack.callback(_end, process)
        return process, os.fdopen(reading)


def _isolation(root: Path, config: Mapping[str, Any]) -> list[str]:
    user, group = config["User"].split(":")
    options = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--die-with-parent"]
    options += ["--ro-bind", str(root), "/", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]
    options += ["--uid", user, "--gid", group, "--cap-drop", "ALL", "--chdir", config["WorkingDir"], "--clearenv"]
    for pair in config["Env"]:
        options += ["--setenv", *pair.split("=", 1)]
    return options


def _child(information: IO[str]) -> int:
    with information:
        return int(json.loads(information.read())["child-pid"])


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


@contextmanager
def pod(store: Store) -> Iterator[Pod]:
    """An empty pod: a network in which only loopback is up, held by a process that does nothing."""
    reading, writing = os.pipe()
    command = ["bwrap", "--unshare-net", "--ro-bind", "/", "/", "--info-fd", str(writing), "--die-with-parent"]
    holder = subprocess.Popen([*command, "sleep", "infinity"], pass_fds=[writing])
    os.close(writing)
    try:
        with ExitStack() as stack:
            yield Pod(store, _child(os.fdopen(reading)), stack)
    finally:
        holder.terminate()
        holder.wait()
