"""Triton 2.51 on the CPU with its Python backend, from a wheel: the bare server binary, none of the wheel's Python.

Rule 1: the Python backend runs each model in a stub of exactly one Python version, so a build is for the Python that
        made it and says so in its version.
Rule 2: the stub starts an isolated interpreter: it sees no PYTHONPATH. It finds its standard library by the first
        python3 on PATH, and packages (NumPy below 2: the stub was built against 1) beside the backend's own module.
Rule 3: every server has its own prefix for shared memory; what a killed one leaves there is removed by that name.

Has no GPU, no ONNX Runtime, TensorRT or vLLM backend: those come with NVIDIA's containers. An ONNX model runs inside a
Python one.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from asyncio import to_thread
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from askmesh.rig.part import ROOT, Wheel, folder_part, pip, unpack_wheels
from askmesh.rig.process import HOST, Recipe, Server, running

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSION = f"2.51.0-py{PYTHON}"
WHEEL = Wheel("nvidia-pytriton==0.7.0", "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df")
# For the models, by requirement: wheels of CPython 3.11 and 3.12.
PACKAGES = {
    "numpy==1.26.4": (
        "666dbfb6ec68962c033a450943ded891bed2d54e6755e35e5835d63f4f6931d5",
        "675d61ffbfa78604709862923189bad94014bef562cc35cf61d3a07bba02a7ed",
    ),
    "onnxruntime==1.19.2": (  # takes NumPy 1 and reads opset 20
        "a36511dc07c5c964b916697e42e366fa43c48cdb3d3503578d78cef30417cb84",
        "477b93df4db467e9cbf34051662a4b27c18e131fa1836e05974eae0d6e4cf29b",
    ),
}
STANDINS = ROOT / "deploy" / "triton" / "standin" / "models"  # language models' tensor contracts without the models
EMBEDDING = ROOT / "deploy" / "triton" / "standin" / "embedding"  # the real embedding model, in a Python model
STANDIN_NAME = "stand-in"  # not Gemma: no bill and no page may say that it answered
LIBRARIES = "nvidia_pytriton.libs"
READY_TIMEOUT_S = 2.0
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where the backend makes its regions, not a temporary file of ours


def make(folder: Path) -> None:
    """The server, the Python backend with this Python's stub, packages for it, and the libraries they link to."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unpack_wheels([WHEEL], Path(scratch))
        source = Path(scratch) / "pytriton" / "tritonserver"
        shutil.move(Path(scratch) / LIBRARIES, folder / LIBRARIES)
        shutil.move(source / "backends", folder / "backends")
        shutil.move(source / "bin" / "tritonserver", folder / "tritonserver")
        backend = folder / "backends" / "python"
        stub = source / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
        shutil.move(stub, backend / stub.name)
    for program in (folder / "tritonserver", backend / "triton_python_backend_stub"):
        program.chmod(0o755)
    _install_packages(backend)


def _install_packages(backend: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        for requirement, hashes in PACKAGES.items():
            wanted.write(" ".join([requirement, *(f"--hash=sha256:{sha256}" for sha256 in hashes)]) + "\n")
        wanted.flush()
        command = [*pip(), "install", "-q", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        command += ["--python-version", PYTHON, "--target", str(backend), "-r", wanted.name]
        environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)  # pip warns of our own NumPy


PART = folder_part("triton", VERSION, used_by="generation", proof="backends/python/onnxruntime/__init__.py", make=make)


@asynccontextmanager
async def running_triton(
    folder: Path,
    *,
    repository: Path,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    script: Path | None = None,
) -> AsyncIterator[Server]:
    """A Triton that serves a repository; ports "grpc", "http" and "metrics".

    Args:
        repository: Of models for the Python backend.
        environment: What its models see besides this process's.
        options: Further ones, as on its command line: ("--model-control-mode=explicit", "--load-model=x").
        script: What starts the server, with all options; it finds `tritonserver` on PATH.
    Raises:
        RigMissing: it is not built for this Python.  RigFailed: a model does not load.
    """
    home = PART.require()
    prefix = f"askmesh_{uuid.uuid4().hex[:12]}"

    def command(ports: Mapping[str, int]) -> list[str]:
        program, *line = _command(home, repository, prefix, ports)
        return [str(script or program), *line, *options]

    recipe = Recipe(
        "triton", VERSION, ["grpc", "http", "metrics"], command, _is_ready,
        environment={**_environment(home), **(environment or {})}, scheme="dns", start_s=60.0,
    )  # fmt: skip
    try:
        async with running(recipe, folder) as server:
            yield server
    finally:
        _remove_regions(prefix)


def running_standins(folder: Path) -> AbstractAsyncContextManager[Server]:
    """A Triton with the stand-in models."""
    return running_triton(folder, repository=STANDINS)


def _remove_regions(prefix: str) -> None:
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def _command(home: Path, repository: Path, prefix: str, ports: Mapping[str, int]) -> list[str]:
    line = [
        str(home / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={home / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--allow-gpu-metrics=false",
        "--log-info=false",  # its tables would push the reason for a failed start out of sight
        "--exit-timeout-secs=2",  # answers still running then are cut; tests do not wait for them
    ]
    return [*line, *(f"--{name}-{what}" for name in ports for what in (f"port={ports[name]}", f"address={HOST}"))]


def _environment(home: Path) -> dict[str, str]:
    libraries = [str(home / LIBRARIES), sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "PATH": os.pathsep.join([str(Path(sys.base_prefix) / "bin"), str(home), os.environ.get("PATH", os.defpath)]),
    }


async def _is_ready(server: Server) -> bool:
    return await to_thread(_asked, server.host, server.ports["http"], "/v2/health/ready")


def _asked(host: str, port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=READY_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
