"""The two doors of a Weaviate: gRPC for objects, HTTP for the schema.

The client package brings the generated gRPC contract, which is used as it is: every call takes the time that is left as
its own timeout and ends on the server too. The package's own connection has one timeout for all calls, retries inside
it, and looks a version up on the network.

Whatever is asked here may be asked twice: an object's id follows from its chunk's, what is deleted stays so. A call
that found nobody is made once more when there is time for it: a write outlives a restart, a search has no such time.

Does not: pool several channels. A peer that hangs is noticed by each call's deadline; one that is gone without a word
(a node that died, packets that are dropped) some seconds after it stopped to acknowledge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
import httpx
from weaviate.proto.v1.v6300.v1 import (
    aggregate_pb2,
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    search_get_pb2,
    weaviate_pb2_grpc,
)

from chassis.budget import Budget
from chassis.errors import SearchUnavailable, SettingsInvalid
from chassis.retry import Backoff, RetryPolicy
from chassis.telemetry import Telemetry
from retriever.search.tls import PUBLIC, StoreTls
from retriever.search.weaviate.failures import PLACE, is_lost, refused, translated

_MAX_MESSAGE_BYTES: Final = 100 << 20  # Weaviate's own limit, both ways
# A Go server without a policy of its own, as Weaviate's, answers pings oftener than every five minutes with GOAWAY. The
# pings are not what is wanted: gRPC sets TCP_USER_TIMEOUT, to the second figure, only where there is keepalive (gRFC
# A18). Without it the kernel sends again for some fifteen minutes before anybody connects anew.
_KEEPALIVE_MS: Final = 310_000
_GONE_MS: Final = 5_000
_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _GONE_MS),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),  # gRPC's own: 4 to 5 s after a restart; these: .2 to .4
    ("grpc.min_reconnect_backoff_ms", 1_000),  # of one attempt to connect, in spite of its name
    ("grpc.max_reconnect_backoff_ms", 500),
)
_OK: Final = 200
_ABSENT: Final = frozenset({404, 422})  # a tenant that is not there; a tenant of a class that is not there
_ANY_REPLICA: Final = base_pb2.CONSISTENCY_LEVEL_ONE
_ALL_REPLICAS: Final = base_pb2.CONSISTENCY_LEVEL_ALL  # a search asks any one of them, so every one must have it


class Engine:
    """Calls to one Weaviate, each within its budget; failures are ours (failures.py)."""

    def __init__(
        self, channel: grpc.aio.Channel, http: httpx.AsyncClient, api_key: str, *, retries: RetryPolicy
    ) -> None:
        self._stub: Any = weaviate_pb2_grpc.WeaviateStub(channel)  # type: ignore[no-untyped-call]  # generated
        self._http = http
        self._retries = retries
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()

    async def search(
        self, request: search_get_pb2.SearchRequest, *, budget: Budget
    ) -> Sequence[search_get_pb2.SearchResult]:
        request.consistency_level = _ANY_REPLICA
        reply = await self._call(self._stub.Search, request, budget)
        return list(reply.results)

    async def store(self, objects: Sequence[batch_pb2.BatchObject], *, budget: Budget) -> None:
        """Write all of them on every replica, or raise what the first one that failed means."""
        request = batch_pb2.BatchObjectsRequest(objects=objects, consistency_level=_ALL_REPLICAS)
        reply = await self._call(self._stub.BatchObjects, request, budget)
        for error in reply.errors:
            raise refused(error.error)

    async def count(self, name: str, tenant: str, which: base_pb2.Filters, *, budget: Budget) -> int:
        request = aggregate_pb2.AggregateRequest(collection=name, tenant=tenant, objects_count=True, filters=which)
        reply = await self._call(self._stub.Aggregate, request, budget)
        return int(reply.single_result.objects_count)

    async def delete(self, name: str, tenant: str, which: base_pb2.Filters, *, budget: Budget) -> None:
        request = batch_delete_pb2.BatchDeleteRequest(
            collection=name, tenant=tenant, filters=which, consistency_level=_ALL_REPLICAS
        )
        reply = await self._call(self._stub.BatchDelete, request, budget)
        if reply.failed:
            raise SearchUnavailable(f"{PLACE}: the store did not delete everything; try again")

    async def classes(self, *, budget: Budget) -> list[dict[str, Any]]:
        reply = await self._request("GET", "/v1/schema", budget)
        if reply.status_code != _OK:
            raise refused(reply.text)
        return list(reply.json().get("classes") or ())

    async def read_class(self, name: str, *, budget: Budget) -> dict[str, Any] | None:
        """A class as it is; None when there is none."""
        reply = await self._request("GET", f"/v1/schema/{name}", budget)
        if reply.status_code in _ABSENT:
            return None
        if reply.status_code != _OK:
            raise refused(reply.text)
        return dict(reply.json())

    async def create_class(self, definition: dict[str, Any], *, budget: Budget) -> None:
        """Make a class; another process may have been faster."""
        reply = await self._request("POST", "/v1/schema", budget, json=definition)
        if reply.status_code != _OK and await self.read_class(definition["class"], budget=budget) is None:
            raise refused(reply.text)

    async def has_tenant(self, name: str, tenant: str, *, budget: Budget) -> bool:
        reply = await self._request("GET", f"/v1/schema/{name}/tenants/{tenant}", budget)
        if reply.status_code not in _ABSENT | {_OK}:
            raise refused(reply.text)
        return reply.status_code == _OK

    async def tenants(self, name: str, *, budget: Budget) -> list[str]:
        """The tenants of a class; none where there is no such class."""
        reply = await self._request("GET", f"/v1/schema/{name}/tenants", budget)
        if reply.status_code in _ABSENT:
            return []
        if reply.status_code != _OK:
            raise refused(reply.text)
        return [each["name"] for each in reply.json()]

    async def drop_tenant(self, name: str, tenant: str, *, budget: Budget) -> None:
        """Delete a tenant with all it holds; nothing happens where there is none."""
        reply = await self._request("DELETE", f"/v1/schema/{name}/tenants", budget, json=[tenant])
        if reply.status_code not in _ABSENT | {_OK}:
            raise refused(reply.text)

    async def _call(self, method: Any, request: Any, budget: Budget) -> Any:
        async def once() -> Any:
            budget.check(PLACE)
            with translated():
                return await method(request, timeout=budget.remaining_s(), metadata=self._metadata)

        return await self._retries.call(once, budget=budget)

    async def _request(self, method: str, path: str, budget: Budget, *, json: Any = None) -> httpx.Response:
        async def once() -> httpx.Response:
            budget.check(PLACE)
            with translated():
                return await self._http.request(method, path, json=json, timeout=budget.remaining_s())

        return await self._retries.call(once, budget=budget)


@asynccontextmanager
async def open_engine(
    url: str, grpc_address: str, api_key: str = "", *, tls: StoreTls = PUBLIC, telemetry: Telemetry | None = None
) -> AsyncIterator[Engine]:
    """An engine; nothing is asked of the server yet, so that a retriever starts without it and degrades.

    Args:
        url: Its HTTP door ("http://host:8080"); with https both doors are encrypted.
        grpc_address: Its gRPC door ("host:50051").
        api_key: "" where none is asked for.
    """
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https") or not grpc_address:
        raise SettingsInvalid("the dense store needs an http or https URL and the address of its gRPC port")
    if scheme == "https":
        channel = grpc.aio.secure_channel(grpc_address, tls.credentials(), options=_OPTIONS)
    else:
        channel = grpc.aio.insecure_channel(grpc_address, options=_OPTIONS)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    verify = tls.context() if scheme == "https" else True
    async with channel, httpx.AsyncClient(base_url=url, headers=headers, verify=verify) as http:
        retries = RetryPolicy("weaviate", backoff=Backoff(attempts=2), is_worth=is_lost, telemetry=telemetry)
        yield Engine(channel, http, api_key, retries=retries)
