"""A policy that is edited while the mesh runs reaches the sidecars without a restart."""

from __future__ import annotations

import asyncio
import json

from askmesh.rig import envoy
from askmesh.rig.part import ROOT

RULE = ROOT / "istio" / "base" / "destinationrule-retriever.yaml"
PUSHED_S = 30.0  # .1 s in quiet
EDITED = 7  # errors in a row; the file says 5


def edited():
    return RULE.read_text().replace("consecutiveGatewayErrors: 5", f"consecutiveGatewayErrors: {EDITED}")


async def errors_before_ejection(member):
    """What the sidecar's clusters for the retriever have, one value each."""
    dump = json.loads(await envoy.admin(member.envoy, "/config_dump?resource=dynamic_active_clusters"))
    clusters = [each["cluster"] for each in dump["configs"] if "retriever" in each["cluster"]["name"]]
    return {each["outlier_detection"]["consecutive_gateway_failure"] for each in clusters if "outbound" in each["name"]}


async def until(member, value):
    async with asyncio.timeout(PUSHED_S):
        while await errors_before_ejection(member) != {value}:  # noqa: ASYNC110  # a push has no event to wait for
            await asyncio.sleep(0.05)


async def test_an_edited_outlier_detection_reaches_a_running_sidecar(system):
    caller = system.orchestrators["v1"].member
    await until(caller, 5)
    assert edited() != RULE.read_text()
    try:
        await system.mesh.kubernetes.apply(edited())
        await until(caller, EDITED)
    finally:
        await system.mesh.kubernetes.apply(RULE)
    await until(caller, 5)
    assert system.orchestrators["v1"].service.is_running
