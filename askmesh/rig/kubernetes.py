"""A Kubernetes API without a cluster: Debian's etcd and the real kube-apiserver 1.35, with every definition we use.

    async with running_kubernetes(folder) as kube:
        await kube.kubectl("apply", "--server-side", "--validate=strict", "-f", "deploy/base/retriever.yaml")
        kube.kubeconfig  # for istioctl and anything else that reads one

There are no controllers and no nodes: an object is admitted, defaulted, validated and kept, and nothing acts on it.
`running_controllers` starts kube-controller-manager beside it (Deployments make ReplicaSets make Pods, HPAs scale).

The definitions (crds.py) take longer to install than everything else takes to start. So they are installed once into an
etcd whose data stay in the rig's cache, and each API server begins with a copy of these.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from askmesh.rig import crds
from askmesh.rig.aggregation import passing_on_flags
from askmesh.rig.debian import debian_part
from askmesh.rig.http_probe import answers
from askmesh.rig.kube_client import KubeClient
from askmesh.rig.part import cache
from askmesh.rig.process import HOST, Recipe, Server, running
from askmesh.rig.thin_module import thin_module

VERSION = "1.35.4"
ETCD = debian_part("etcd-server", name="etcd", programs=["etcd"], used_by="mesh, deploy")
PART = thin_module(
    "kubernetes",
    VERSION,
    used_by="mesh, deploy",
    packages=[f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-controller-manager", "kubectl", "kube-apiserver")],
)
SERVICE_RANGE = "10.96.0.0/16"  # of cluster IPs: they are handed out and nobody listens there
MAX_OBJECT_BYTES = 4 * 1024 * 1024  # KServe's largest definition is above etcd's 1.5 MiB


class KubectlFailed(Exception):
    """kubectl refused; `str()` is what it said."""


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """An API that answers, and how to use it.

    Attributes:
        kubeconfig: Of its administrator.
        client: For single objects, quickly.
    """

    etcd: Server
    api: Server
    kubeconfig: Path
    client: KubeClient

    async def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints. Raises KubectlFailed."""
        command = [str(PART.require() / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        environment = {**os.environ, "HOME": str(self.kubeconfig.parent)}  # its cache of what the API has
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        if process.returncode != 0:
            raise KubectlFailed(err.decode().strip() or out.decode().strip())
        return out.decode()

    async def apply(self, *manifests: str | Path | Mapping[str, object]) -> None:
        """Server-side apply with strict validation: files or folders, YAML, or objects. Raises KubectlFailed."""
        line = ["apply", "--server-side", "--force-conflicts", "--validate=strict"]
        paths = [each for each in manifests if isinstance(each, Path)]
        for path in paths:
            await self.kubectl(*line, "-f", str(path))
        written = [each if isinstance(each, str) else json.dumps(each) for each in manifests if each not in paths]
        if written:
            await self.kubectl(*line, "-f", "-", stdin="\n---\n".join(map(str, written)))


@asynccontextmanager
async def running_kubernetes(folder: Path) -> AsyncIterator[Kubernetes]:
    """An API of its own on free ports, with the definitions; its data and logs are in `folder`.

    Raises:
        RigMissing: a part is not built.  RigFailed: one did not start.
    """
    for part in (ETCD, PART, crds.PART):
        part.require()
    seed = await _seed()
    await asyncio.to_thread(shutil.copytree, seed / "etcd", folder / "etcd" / "data")
    async with _bare(folder, token=(seed / "token").read_text()) as kubernetes:
        yield kubernetes


def running_controllers(
    kubernetes: Kubernetes, folder: Path, *, autoscaler_period_s: int = 1
) -> AbstractAsyncContextManager[Server]:
    """kube-controller-manager for it.

    Args:
        autoscaler_period_s: Between two looks of a HorizontalPodAutoscaler; 15 in a cluster as it comes.
    """
    program = PART.require() / "kube-controller-manager"
    key = kubernetes.kubeconfig.parent / "pki" / "sa.key"

    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(program), "--kubeconfig", str(kubernetes.kubeconfig), "--leader-elect=false"]
        line += ["--bind-address", HOST, "--secure-port", str(ports["https"]), "--cert-dir", str(folder / "pki")]
        line += ["--service-account-private-key-file", str(key), "--use-service-account-credentials=false"]
        line += [f"--horizontal-pod-autoscaler-sync-period={autoscaler_period_s}s"]
        return [*line, "--controllers=*,-nodelifecycle"]

    recipe = Recipe("kube-controller-manager", VERSION, ["https"], command, _is_healthy, scheme="https")
    return running(recipe, folder)


@asynccontextmanager
async def _bare(folder: Path, *, token: str) -> AsyncIterator[Kubernetes]:
    """etcd and the API server on what `folder` has."""
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(running(_etcd(folder / "etcd"), folder / "etcd"))
        home = folder / "api"
        api = await stack.enter_async_context(running(_api(home, etcd, token), home))
        kubeconfig = home / "kubeconfig"
        _write_secret(kubeconfig, _kubeconfig(api.url, token))
        yield Kubernetes(etcd, api, kubeconfig, KubeClient(api.host, api.port, token))


def _etcd(folder: Path) -> Recipe:
    program = ETCD.require() / "etcd"

    def command(ports: Mapping[str, int]) -> list[str]:
        client, peer = (f"http://{HOST}:{ports[name]}" for name in ("client", "peer"))
        line = [str(program), "--data-dir", str(folder / "data"), "--unsafe-no-fsync"]
        line += ["--listen-client-urls", client, "--advertise-client-urls", client]
        line += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        # One that starts from copied data keeps its member, at the ports of now.
        line += ["--initial-cluster", f"default={peer}", "--force-new-cluster"]
        return [*line, "--max-request-bytes", str(MAX_OBJECT_BYTES), "--logger", "zap", "--log-level", "warn"]

    return Recipe("etcd", "debian", ["client", "peer"], command, _etcd_is_healthy)


def _api(folder: Path, etcd: Server, token: str) -> Recipe:
    program = PART.require() / "kube-apiserver"
    pki = folder / "pki"
    pki.mkdir(parents=True, exist_ok=True)
    _write_secret(folder / "tokens.csv", f"{token},admin,admin,system:masters\n")
    key = pki / "sa.key"
    if not key.exists():
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, stderr=subprocess.DEVNULL)
    passing_on = passing_on_flags(pki / "front-proxy")

    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(program), "--etcd-servers", etcd.url, "--bind-address", HOST, "--secure-port", str(ports["https"])]
        # 10.0.0.1 is only a name in objects: a loopback address is refused there.
        line += ["--advertise-address=10.0.0.1", "--endpoint-reconciler-type=none"]
        line += ["--cert-dir", str(pki), "--service-cluster-ip-range", SERVICE_RANGE, "--authorization-mode=RBAC"]
        line += ["--token-auth-file", str(folder / "tokens.csv"), "--profiling=false", "--allow-privileged"]
        line += [
            "--service-account-issuer=https://kubernetes.default.svc",
            "--disable-admission-plugins=ServiceAccount",
        ]
        # Debian's etcd (3.4) does not say how far it is: sizes of lists wait 3 s for that, also when it ends.
        line += ["--feature-gates=SizeBasedListCostEstimate=false"]
        line += ["--service-account-signing-key-file", str(key), "--service-account-key-file", str(key)]
        return [*line, *passing_on]

    return Recipe("kube-apiserver", VERSION, ["https"], command, _is_ready, scheme="https", start_s=120.0)


def _kubeconfig(url: str, token: str) -> str:
    """The server signs its own certificate at every first start, and this file never leaves the machine."""
    cluster = {"server": url, "insecure-skip-tls-verify": True}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rig", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "admin"}}],
        "current-context": "rig",
    }
    return json.dumps(config, indent=1)


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


async def _seed() -> Path:
    """Data of an etcd with the definitions in it, and the token its API takes; made by whoever needs them first."""
    key = hashlib.sha256(f"{VERSION} {crds.VERSION} 1".encode()).hexdigest()[:12]
    folder = cache() / f"kubernetes-seed-{key}"
    with (cache() / ".kubernetes-seed.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache(), prefix=".kubernetes-seed-") as scratch:
                token = secrets.token_hex(16)
                await _install(Path(scratch), token)
                await asyncio.to_thread(_keep, Path(scratch), token, folder)
    return folder


async def _install(folder: Path, token: str) -> None:
    async with _bare(folder, token=token) as kubernetes:
        for file in crds.files():
            await kubernetes.kubectl("apply", "--server-side", "-f", str(file))
        await kubernetes.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        await kubernetes.kubectl("create", "namespace", "istio-system")


def _keep(scratch: Path, token: str, folder: Path) -> None:
    """The data of a stopped etcd, as the seed: there whole or not at all."""
    made = scratch / "made"
    made.mkdir()
    shutil.copytree(scratch / "etcd" / "data", made / "etcd")
    _write_secret(made / "token", token)
    made.rename(folder)


async def _etcd_is_healthy(server: Server) -> bool:
    return await answers(f"{server.url}/health")


async def _is_ready(server: Server) -> bool:
    return await answers(f"{server.url}/readyz")


async def _is_healthy(server: Server) -> bool:
    return await answers(f"{server.url}/healthz")
