"""Every part of the rig, in the order of the status table. A new server adds its PART here and nothing else."""

from __future__ import annotations

from askmesh.rig import (
    chromium,
    controllers,
    crds,
    envoy,
    images,
    istio,
    keda,
    kubernetes,
    kwok,
    opensearch,
    prometheus,
    redis,
    sds,
    triton,
    weaviate,
)
from askmesh.rig.part import Part, go_tool

PARTS: tuple[Part, ...] = (
    go_tool("grpcurl", "1.9.4", "github.com/fullstorydev/grpcurl/cmd/grpcurl", "tests/system"),
    chromium.PART,
    images.PART,
    crds.PART,
    envoy.PART,
    kubernetes.ETCD,
    istio.PART,
    istio.ISTIOCTL,
    kubernetes.PART,
    opensearch.PART,
    prometheus.PART,
    redis.PART,
    triton.PART,
    weaviate.PART,
    sds.PART,
    controllers.ROLLOUTS,
    kwok.PART,
    kwok.METRICS_SERVER,
    keda.PART,
)


def part(name: str) -> Part:
    """The part of this name; KeyError where there is none."""
    return {each.name: each for each in PARTS}[name]
