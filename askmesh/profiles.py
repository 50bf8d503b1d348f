"""Profiles: sets of leaves by one name. `cluster` is Weaviate, OpenSearch, Redis and Triton.

Where each engine is, the first found says: ASKMESH_* variables (and the original's names), else the `askmesh rig up`
that runs on this machine. An engine is taken whole from one of the two, never half from each.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from askmesh.rig.state import found
from chassis.errors import SettingsInvalid

CLUSTER = "cluster"
CLIENTS = ("opensearchpy", "redis", "tritonclient", "weaviate")  # what askmesh[cluster] installs


@dataclass(frozen=True, slots=True)
class Engine:
    """A server of the profile.

    Attributes:
        member: Its name in the rig.
        places: Variables any of which says where it is; the first is the one to name.
        switch: The variable that makes askmesh use it, and its value.
    """

    name: str
    member: str
    places: tuple[str, ...]
    switch: tuple[str, str]

    @property
    def where(self) -> str:
        """Its host and port, without the user and password that an address may hold."""
        address = next(os.environ[name] for name in self.places if name in os.environ)
        return urlsplit(address if "//" in address else f"//{address}").netloc.rpartition("@")[2]


_SEARCH = ("ASKMESH_RETRIEVER_SEARCH", "cluster")
ENGINES = (
    Engine("OpenSearch", "opensearch", ("ASKMESH_RETRIEVER_OPENSEARCH_URL", "OPENSEARCH_URL"), _SEARCH),
    Engine("Weaviate", "weaviate", ("ASKMESH_RETRIEVER_WEAVIATE_URL", "WEAVIATE_URL"), _SEARCH),
    Engine(
        "Redis",
        "redis",
        ("ASKMESH_ORCHESTRATOR_REDIS_URL", "ASKMESH_ORCHESTRATOR_REDIS_HOST", "SPRING_REDIS_HOST"),
        ("ASKMESH_ORCHESTRATOR_CACHE", "redis"),
    ),
    Engine("Triton", "triton", ("ASKMESH_ORCHESTRATOR_TRITON_ADDRESS",), ("ASKMESH_ORCHESTRATOR_GENERATOR", "triton")),
)


def use_cluster() -> None:
    """Make this process's services use the cluster's engines: sets what its environment does not say.

    Raises:
        SettingsInvalid: an engine is nowhere, or their clients are not installed.
    """
    absent = [name for name in CLIENTS if importlib.util.find_spec(name) is None]
    if absent:
        raise SettingsInvalid(
            "--profile cluster needs the engines' clients: `make up ARGS='--profile cluster'` installs them, or"
            " `pip install askmesh[cluster]`"
        )
    for name, value in _wanted(found()):
        os.environ.setdefault(name, value)


def _wanted(rig: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    nowhere = []
    for engine in ENGINES:
        yield engine.switch
        if os.environ.get(engine.switch[0], engine.switch[1]) != engine.switch[1]:
            continue  # another leaf was chosen in its place
        if not any(name in os.environ for name in engine.places):
            nowhere += [] if engine.member in rig else [engine]
            yield from rig.get(engine.member, {}).items()
    if nowhere:
        raise SettingsInvalid(
            f"--profile cluster: no address of {', '.join(each.name for each in nowhere)}: start `askmesh rig up` in"
            f" another shell (`make rig` builds its servers), or set {', '.join(each.places[0] for each in nowhere)}"
        )
