"""Every part of the rig, in the order of the status table. A new server adds its PART here and nothing else."""

from __future__ import annotations

from askmesh.rig import chromium, crds, kubernetes, opensearch, prometheus, redis, triton, weaviate
from askmesh.rig.part import Part, go_tool

PARTS: tuple[Part, ...] = (
    go_tool("grpcurl", "1.9.4", "github.com/fullstorydev/grpcurl/cmd/grpcurl", "tests/system"),
    chromium.PART,
    crds.PART,
    kubernetes.ETCD,
    kubernetes.PART,
    opensearch.PART,
    prometheus.PART,
    redis.PART,
    triton.PART,
    weaviate.PART,
)


def part(name: str) -> Part:
    """The part of this name; KeyError where there is none."""
    return {each.name: each for each in PARTS}[name]
