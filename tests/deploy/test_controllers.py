"""The rig's controllers act on its Kubernetes API: Deployments and Rollouts get pods."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from askmesh.rig.controllers import running_rollouts
from askmesh.rig.kubernetes import running_controllers, running_kubernetes
from askmesh.rig.process import POLL_S
from tests.rig_servers import rigged

pytestmark = pytest.mark.timeout(300)
ENOUGH_S = 120.0  # 2 s in quiet


def workload(version, kind, **spec):
    labels = {"app": kind.lower()}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nothing"}]}}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": labels["app"], "namespace": "default"},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


async def pods(kubernetes, app):
    found = await kubernetes.client.get(f"/api/v1/namespaces/default/pods?labelSelector=app={app}")
    return len(found["items"])


async def test_deployments_and_rollouts_get_their_pods(tmp_path):
    async with AsyncExitStack() as stack:
        kubernetes = await stack.enter_async_context(rigged(lambda: running_kubernetes(tmp_path / "kubernetes")))
        await stack.enter_async_context(rigged(lambda: running_controllers(kubernetes, tmp_path / "controllers")))
        await stack.enter_async_context(rigged(lambda: running_rollouts(kubernetes, tmp_path / "rollouts")))
        canary = {"canary": {"steps": [{"setWeight": 50}]}}
        rollout = workload("argoproj.io/v1alpha1", "Rollout", strategy=canary)
        await kubernetes.apply(workload("apps/v1", "Deployment"), rollout)
        async with asyncio.timeout(ENOUGH_S):
            while [await pods(kubernetes, app) for app in ("deployment", "rollout")] != [3, 3]:  # noqa: ASYNC110  # no event
                await asyncio.sleep(POLL_S)
