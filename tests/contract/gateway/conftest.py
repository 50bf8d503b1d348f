"""A gateway over sockets in front of small services of the real contracts."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from chassis.settings import load
from chassis.telemetry import Telemetry
from gateway.app import build
from gateway.settings import GatewaySettings


def _load(name: str):
    """importlib mode gives test folders no package: the shared module is loaded by its path, once."""
    full = f"gateway_contract_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


services = _load("services")


@pytest.fixture
def seen():
    return services.Seen()


@pytest.fixture
def documents(seen):
    return services.Documents(seen)


@pytest.fixture
def telemetry():
    return Telemetry("askmesh-gateway")


@pytest.fixture
async def backend(seen, documents):
    async with services.running_services(seen, documents) as server:
        yield server


@pytest.fixture
def started(backend, telemetry):
    """Starts a gateway with other settings: `async with started(heartbeat_s=.05) as (gateway, client)`."""

    @asynccontextmanager
    async def start(**given):
        async with running(backend.address, telemetry, **given) as pair:
            yield pair

    return start


@asynccontextmanager
async def running(address, telemetry, **given):
    addresses = {"orchestrator_address": address, "retriever_address": address}
    settings = load(GatewaySettings, port=0, **addresses, **{"drain_s": 0, **given})
    async with build(settings, telemetry=telemetry) as gateway, client_of(gateway) as client:
        yield gateway, client


def client_of(gateway):
    return httpx.AsyncClient(base_url=gateway.url, timeout=20, trust_env=False)


@pytest.fixture
async def gateway(started):
    async with started() as pair:
        yield pair[0]


@pytest.fixture
async def client(gateway):
    async with client_of(gateway) as client:
        yield client
