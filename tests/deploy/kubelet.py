"""Runs pods of our services as processes, in the place of a kubelet: the rig has no node, and pods would stay Pending.

Of a pod it takes the settings that stand in its container and the readiness probe; what its ConfigMaps and Secrets
would say (stores, keys) is the rig's. Like a kubelet it asks the probe before it calls the pod ready, and lets callers
learn that a pod goes before it ends its process. Only pods of Rollouts are run: their Deployments carry the template.

A process may be started before its pod is there (`prepare`): while a canary is not ready, the controller looks again
after twice as long each time, up to ten seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from askmesh.rig.fleet import PRESTOP_S
from askmesh.rig.kubernetes import Kubernetes
from askmesh.rig.process import POLL_S, Server
from askmesh.rig.services import running_service
from chassis.channel import open_channel
from tests.deploy.scraping import discovered

Pod = Mapping[str, Any]

HASH = "rollouts-pod-template-hash"  # Argo Rollouts' label, one value per release
LOOK_S = 0.4  # between two looks at the API: each is a connection
PROBE_S = 5.0
PROBED_EVERY_S = 1.0  # 5 s in the manifests
# app -> folder of the pod's own -> settings that stand in no pod
Surroundings = Callable[[str, Path], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Container:
    """A pod that is ready, and its process."""

    pod: Pod
    service: Server

    @property
    def release(self) -> str:
        found: str = self.pod["metadata"]["labels"][HASH]
        return found

    def has(self, labels: Mapping[str, str]) -> bool:
        own: Mapping[str, str] = self.pod["metadata"]["labels"]
        return labels.items() <= own.items()


class Kubelet:
    """Made by `running_kubelet`.

    Attributes:
        containers: By the pods' names; with their labels as the API has them.
    """

    def __init__(self, kubernetes: Kubernetes, folder: Path, targets: Path, surroundings: Surroundings) -> None:
        self._kubernetes = kubernetes
        self._folder = folder
        self._targets = targets
        self._surroundings = surroundings
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._ahead: dict[tuple[str, frozenset[tuple[str, str]]], asyncio.Task[tuple[Server, AsyncExitStack]]] = {}
        self._numbers = itertools.count()
        self._prestop_s = PRESTOP_S
        self.containers: dict[str, Container] = {}

    def selected(self, labels: Mapping[str, str]) -> list[Container]:
        return [each for each in self.containers.values() if each.has(labels)]

    def prepare(self, app: str, settings: Mapping[str, str]) -> None:
        """Start the process of a pod in whose container these settings will stand."""
        self._ahead[app, frozenset(settings.items())] = asyncio.create_task(self._start(app, settings))

    async def run(self, namespace: str) -> None:
        """For ever; ends with the first pod that does not start."""
        try:
            while True:
                listed = await self._kubernetes.client.get(f"/api/v1/namespaces/{namespace}/pods")
                await self._follow({pod["metadata"]["name"]: pod for pod in listed["items"] if _is_ours(pod)})
                await asyncio.sleep(LOOK_S)
        finally:
            self._prestop_s = 0.0  # nobody calls any more
            for life in self._lives.values():
                life.cancel()
            await asyncio.gather(*self._lives.values(), return_exceptions=True)
            for unused in await asyncio.gather(*self._ahead.values()):
                await unused[1].aclose()

    async def _follow(self, pods: Mapping[str, Pod]) -> None:
        for name in self._lives.keys() - pods.keys():
            self._lives.pop(name).cancel()
        for name in pods.keys() - self._lives.keys():
            self._lives[name] = asyncio.create_task(self._live(pods[name]))
        for life in self._lives.values():
            if life.done():
                life.result()  # it ends by cancelling alone: this raises what it met
        for name in self.containers.keys() & pods.keys():
            self.containers[name] = Container(pods[name], self.containers[name].service)
        self._tell_prometheus()

    async def _live(self, pod: Pod) -> None:
        app, settings = pod["metadata"]["labels"]["app"], settings_of(pod["spec"])
        ahead = self._ahead.pop((app, frozenset(settings.items())), None)
        service, stack = await (ahead or self._start(app, settings))
        async with stack:
            await _until_ready(service, pod)
            await self._kubernetes.client.report(_ready(pod))
            self.containers[pod["metadata"]["name"]] = Container(pod, service)
            try:
                while True:  # as a kubelet does, and services count it
                    await _until_ready(service, pod)
                    await asyncio.sleep(PROBED_EVERY_S)
            finally:
                del self.containers[pod["metadata"]["name"]]
                await asyncio.sleep(self._prestop_s)

    async def _start(self, app: str, settings: Mapping[str, str]) -> tuple[Server, AsyncExitStack]:
        folder = self._folder / f"{app}-{next(self._numbers)}"
        environment = {**self._surroundings(app, folder), **settings}
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(running_service(app, folder, environment=environment))
            return service, stack.pop_all()

    def _tell_prometheus(self) -> None:
        """Written when it changes, and whole: Prometheus watches the file."""
        found = [
            discovered(each.pod, f"{each.service.host}:{each.service.ports['metrics']}")
            for each in self.containers.values()
        ]
        text = json.dumps(found)
        if not self._targets.exists() or self._targets.read_text() != text:
            draft = self._targets.with_suffix(".draft")
            draft.write_text(text)
            draft.rename(self._targets)


@asynccontextmanager
async def running_kubelet(
    kubernetes: Kubernetes, folder: Path, *, namespace: str, targets: Path, surroundings: Surroundings
) -> AsyncIterator[Kubelet]:
    """It runs the namespace's pods until it is left; their processes end then.

    Args:
        targets: What Prometheus discovers: `tests.deploy.scraping.discovering` reads it.
        surroundings: A pod's settings that do not stand in it.
    """
    kubelet = Kubelet(kubernetes, folder, targets, surroundings)
    running = asyncio.create_task(kubelet.run(namespace))
    try:
        yield kubelet
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _is_ours(pod: Pod) -> bool:
    return HASH in pod["metadata"]["labels"] and "deletionTimestamp" not in pod["metadata"]


def settings_of(pod_spec: Mapping[str, Any]) -> dict[str, str]:
    """What stands in its container, less what is put together from Secrets."""
    found = pod_spec["containers"][0].get("env", [])
    return {each["name"]: each["value"] for each in found if "$(" not in each.get("value", "$(")}


async def _until_ready(service: Server, pod: Pod) -> None:
    """As its readiness probe says."""
    asked = health_pb2.HealthCheckRequest(service=pod["spec"]["containers"][0]["readinessProbe"]["grpc"]["service"])
    async with open_channel(f"{service.host}:{service.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            try:
                if (await stub.Check(asked, timeout=PROBE_S)).status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                pass
            await asyncio.sleep(POLL_S)


def _ready(pod: Pod) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
    metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    status = {"phase": "Running", "startTime": now, "conditions": conditions}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}
