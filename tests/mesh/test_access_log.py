"""What a sidecar's access log holds: every call that went wrong and no other, by either protocol."""

from __future__ import annotations

import asyncio
import uuid

import grpc
import httpx
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from askmesh.rig.fleet import PORTS
from tests.mesh.calls import ENOUGH_S, orchestrator_from, question
from tests.mesh.traffic import GATEWAY

WRITTEN_S = 60  # Envoy writes its logs every ten seconds


def one_id():
    return uuid.uuid4().hex


async def get(member, path, request_id):
    headers = {"host": GATEWAY, "x-request-id": request_id}
    async with httpx.AsyncClient(trust_env=False, timeout=ENOUGH_S) as http:
        return await http.get(f"http://{member.outbound}:{PORTS['gateway']['http-rest']}{path}", headers=headers)


async def test_what_went_wrong_is_logged_and_nothing_else(system):
    client = system.client
    good, bad = [one_id(), one_id()], [one_id(), one_id()]
    async with orchestrator_from(client) as stub:
        await stub.Ask(question(), timeout=ENOUGH_S, metadata=(("x-request-id", good[0]),))
        assert (await get(client, "/v1/collections", good[1])).status_code == httpx.codes.OK
        absent = pb.AskRequest(collection="absent", question="Is anybody there?")
        with pytest.raises(grpc.RpcError) as refused:
            await stub.Ask(absent, timeout=ENOUGH_S, metadata=(("x-request-id", bad[0]),))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert (await get(client, "/v1/nothing", bad[1])).status_code == httpx.codes.NOT_FOUND
    async with asyncio.timeout(WRITTEN_S):
        while not all(each in (log := client.envoy.log.read_text(errors="replace")) for each in bad):  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # another process's file
    assert [each for each in good if each in log] == []
    assert "anybody" not in log
