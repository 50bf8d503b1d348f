"""schemathesis against a running gateway: whatever it makes of the description, no 500 and no answer outside of it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from chassis.settings import load
from chassis.telemetry import Telemetry
from gateway.openapi import document
from gateway.settings import GatewaySettings

EXAMPLES = 25  # per operation: the whole suite stays under a minute on two shared cores


@schemathesis.check
def fails_only_for_lack_of_time(ctx, response, case):
    """Everything the services say is 4xx here; a deadline of a few milliseconds, which is allowed, is 504."""
    assert response.status_code < 500 or response.json()["error"]["reason"] == "DEADLINE_EXCEEDED", response.text


# positive_data_acceptance is left out: the contracts state ranges and formats in prose, and no schema written from a
# descriptor knows them; missing_required_header and ignored_auth do not apply, because the services judge credentials.
CHECKS = [
    fails_only_for_lack_of_time,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]

schema = schemathesis.openapi.from_dict(document(load(GatewaySettings)))


@pytest.fixture(scope="module")
def url(request):
    """A gateway and its services in a thread: schemathesis calls from where a loop would block."""
    ours = str(Path(__file__).with_name("conftest.py"))
    found_plugins = request.config.pluginmanager.get_plugins()
    conftest = next(plugin for plugin in found_plugins if getattr(plugin, "__file__", None) == ours)
    started = threading.Event()
    found: dict[str, Any] = {}

    async def serve():
        stop = asyncio.Event()
        services = conftest.services
        seen = services.Seen()
        async with (
            services.running_services(seen, services.Documents(seen)) as server,
            conftest.running(server.address, Telemetry("gateway")) as (gateway, _),
        ):
            found.update(url=gateway.url, stop=stop.set, loop=asyncio.get_running_loop())
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(20)
    yield found["url"]
    found["loop"].call_soon_threadsafe(found["stop"])
    thread.join(20)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_nothing_made_from_the_description_breaks_the_gateway(case, url):
    if "last-event-id" in (case.headers or {}):
        del case.headers["last-event-id"]  # with it a body is not read, by rule: nothing in it can be refused
    case.call_and_validate(base_url=url, checks=CHECKS)
