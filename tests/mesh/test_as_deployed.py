"""What the rig starts is what deploy/ describes."""

from __future__ import annotations

import pytest

from askmesh.rig import envoy
from askmesh.rig.fleet import PORTS, PRESTOP_S, labels


@pytest.mark.parametrize("role", sorted(PORTS))
async def test_a_replica_has_its_deployment_s_labels_account_and_ports(mesh, role):
    deployment = await mesh.kubernetes.client.get(f"/apis/apps/v1/namespaces/rag/deployments/{role}")
    template = deployment["spec"]["template"]
    [container] = [each for each in template["spec"]["containers"] if each["name"] == role]
    assert template["metadata"]["labels"] == labels(role, "v1")
    assert template["spec"]["serviceAccountName"] == role
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == PORTS[role]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] >= PRESTOP_S


async def test_no_sidecar_refused_what_istiod_sent(system):
    """As a stock Envoy would with a filter that it lacks."""
    for member in [*(each.member for each in system.fleet.replicas), system.client, system.stranger]:
        found = await envoy.stats(member.envoy, "(lds|cds|rds.*).update_(rejected|success)")
        assert [name for name, count in found.items() if "rejected" in name and count] == []
        assert sum(count for name, count in found.items() if "success" in name) >= 2
