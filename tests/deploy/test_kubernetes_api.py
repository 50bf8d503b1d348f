"""The rig's Kubernetes API judges manifests as a cluster's would: what it must take, and what it must refuse."""

from __future__ import annotations

import pytest

from askmesh.rig.kubernetes import KubectlFailed

pytestmark = pytest.mark.timeout(300)  # the first API of a machine installs 41 definitions: 60 s on a busy one

KINDS = {
    "virtualservices.networking.istio.io",
    "authorizationpolicies.security.istio.io",
    "grpcroutes.gateway.networking.k8s.io",
    "scaledobjects.keda.sh",
    "rollouts.argoproj.io",
    "analysistemplates.argoproj.io",
    "inferenceservices.serving.kserve.io",
    "servingruntimes.serving.kserve.io",
}


def scaled_object(**spec):
    trigger = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "retriever", "namespace": "default"},
        "spec": {"scaleTargetRef": {"name": "retriever"}, "triggers": [trigger], **spec},
    }


async def test_it_has_the_definitions_of_every_project_we_write_manifests_for(kubernetes):
    assert set((await kubernetes.kubectl("api-resources", "-o", "name")).split()) >= KINDS


async def test_a_good_manifest_is_accepted(kubernetes):
    await kubernetes.apply(scaled_object(minReplicaCount=2))
    assert "retriever" in await kubernetes.kubectl("get", "scaledobject", "-n", "default", "-o", "name")


async def test_a_misspelt_field_is_refused_by_name(kubernetes):
    with pytest.raises(KubectlFailed, match="minReplicas"):
        await kubernetes.apply(scaled_object(minReplicas=2))


async def test_a_misspelt_field_of_a_built_in_kind_is_refused_by_name(kubernetes):
    ports = [{"name": "grpc", "port": 50052, "targetport": 50052}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"}}
    with pytest.raises(KubectlFailed, match="targetport"):
        await kubernetes.apply({**service, "spec": {"ports": ports}})
