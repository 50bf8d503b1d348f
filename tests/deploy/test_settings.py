"""What the manifests tell our services they understand: each container's environment loads with its own class."""

from __future__ import annotations

import click
import pytest

from askmesh.cli import root
from chassis.settings import ServiceSettings, load
from gateway.settings import GatewaySettings
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings
from tests.deploy.documents import DEPLOY, Document, built, containers, one

KINDS: dict[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "orchestrator": OrchestratorSettings,
    "retriever": RetrieverSettings,
}
OVERLAYS = ("kind", "gke")
SECRET = "0123456789abcdef0123456789abcdef"


def environment(documents: list[Document], container: Document) -> dict[str, str]:
    """What Kubernetes would set: ConfigMaps, then values, secrets and expansions."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        data = one(documents, "ConfigMap", source["configMapRef"]["name"])["data"]
        assert all(isinstance(value, str) for value in data.values())
        found |= data
    for item in container.get("env", []):
        value = item.get("value", SECRET)
        for name, known in found.items():
            value = value.replace(f"$({name})", known)
        found[item["name"]] = value
    return found


def ours(overlay: str) -> list[tuple[str, Document]]:
    """(service, container) of every container that runs one of our images."""
    found = []
    for document in built(DEPLOY / "overlays" / overlay):
        for container in containers(document):
            service = container["image"].rpartition("/")[2].partition("@")[0].removeprefix("askmesh-")
            if "/askmesh-" in container["image"]:
                found.append((service, container))
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_of_ours_starts_with_its_settings(overlay, monkeypatch):
    documents = built(DEPLOY / "overlays" / overlay)
    served = [(service, container) for service, container in ours(overlay) if service in KINDS]
    assert {service for service, _ in served} == set(KINDS)
    for service, container in served:
        with monkeypatch.context() as patch:
            for name, value in environment(documents, container).items():
                patch.setenv(name, value)
            settings = load(KINDS[service])  # raises for what is unknown or invalid
        assert container["args"] == ["serve", service]
        assert settings.drain_s == 35


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_jobs_give_the_command_line_arguments_and_variables_that_it_has(overlay):
    documents = built(DEPLOY / "overlays" / overlay)
    for service, container in ours(overlay):
        if service == "ingest":
            name, *arguments = container["args"]
            command = root.get_command(click.Context(root), name)
            assert command is not None, f"askmesh has no command {name}"
            command.make_context(name, arguments)  # raises for what it does not know
            known = {option.envvar for option in command.params}
            assert {name for name in environment(documents, container) if name.startswith("ASKMESH_")} <= known


def test_an_unknown_name_would_be_noticed(monkeypatch):
    documents = built(DEPLOY / "overlays" / "kind")
    container = dict(ours("kind"))["retriever"]
    for name, value in environment(documents, container).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ASKMESH_RETRIEVER_SERCH", "cluster")
    with pytest.raises(Exception, match="ASKMESH_RETRIEVER_SERCH: no such setting"):
        load(RetrieverSettings)
