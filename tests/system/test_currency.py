"""What was acknowledged is what every later ask sees: documents, access rights and cached answers, over the wire."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from askmesh.client import AsyncClient
from askmesh.documents import DocumentFile
from bench.installation import start, stop
from chassis import errors

RACERS = 25
QUESTION = "How many days of leave do employees get?"


def leave(days, groups=()):
    text = f"# Leave\n\nEmployees get {days} days of leave every year. Leave is taken in whole days."
    return DocumentFile("leave.md", text, groups=groups)


async def put(client, document):
    results = [result async for result in client.ingest([document])]
    assert results[0].outcome == "STORED", results
    return results[0]


async def test_asks_started_after_a_replacement_never_see_the_old_text(installation):
    async with AsyncClient(installation.grpc, collection="currency") as client:
        await put(client, leave(1))
        for days in range(2, 12):
            await client.ask(QUESTION)  # so that an answer of the old state is cached
            await put(client, leave(days))
            answers = await asyncio.gather(*(client.ask(QUESTION) for _ in range(RACERS)))
            assert {f"{days} days" in answer.text for answer in answers} == {True}, [a.text for a in answers]


async def test_asks_started_after_a_delete_never_see_the_document(installation):
    other = DocumentFile("other.md", "# Lunch\n\nLunch is served at noon in the canteen.")
    async with AsyncClient(installation.grpc, collection="deletes") as client:
        await put(client, other)
        for days in range(1, 6):
            await put(client, leave(days))
            assert f"{days} days" in (await client.ask(QUESTION)).text
            await client.delete("leave.md")
            answers = await asyncio.gather(*(client.ask(QUESTION) for _ in range(RACERS)))
            assert not any("days of leave" in answer.text for answer in answers)
            assert not any(source.document_id == "leave.md" for answer in answers for source in answer.sources)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """An installation with three API keys: an editor in both groups, a member of staff, and another tenant."""
    folder = tmp_path_factory.mktemp("guarded")
    keys = [
        key("editor", tenant="acme", groups=["board", "staff"], roles=["ask", "ingest", "admin"]),
        key("staff", tenant="acme", groups=["staff"], roles=["ask"]),
        key("stranger", tenant="other", groups=["board", "staff"], roles=["ask", "ingest"]),
    ]
    (folder / "keys.json").write_text(json.dumps(keys))
    made = start(
        folder / "data",
        "--no-demo",
        environment={"ASKMESH_AUTH": "api-key", "ASKMESH_API_KEYS_FILE": str(folder / "keys.json")},
    )
    yield made
    assert stop(made) == 0, "\n".join(made.lines)


def key(name, *, tenant, groups, roles):
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {"sha256": digest, "tenant": tenant, "groups": groups, "roles": roles, "subject": name}


async def test_asks_started_after_a_revocation_never_see_the_document_cached_answers_included(guarded):
    async with (
        AsyncClient(guarded.grpc, token="editor", collection="acl") as editor,
        AsyncClient(guarded.grpc, token="staff", collection="acl") as staff,
    ):
        for days in range(1, 6):
            await put(editor, leave(days, groups=["staff"]))
            assert f"{days} days" in (await staff.ask(QUESTION)).text
            await put(editor, leave(days, groups=["board"]))
            answers = await asyncio.gather(*(staff.ask(QUESTION) for _ in range(RACERS)))
            assert not any("days of leave" in answer.text for answer in answers)
            assert f"{days} days" in (await editor.ask(QUESTION)).text


async def test_another_tenant_sees_neither_documents_nor_answers(guarded):
    async with (
        AsyncClient(guarded.grpc, token="editor", collection="tenants") as editor,
        AsyncClient(guarded.grpc, token="stranger", collection="tenants") as stranger,
    ):
        await put(editor, leave(7))
        answer = await editor.ask(QUESTION)
        with pytest.raises(errors.CollectionNotFound):
            await stranger.ask(QUESTION)
        with pytest.raises(errors.CollectionNotFound):
            await stranger.document("leave.md")
        with pytest.raises(errors.AnswerNotFound):
            await stranger.evict(answer.started.answer_id)
        assert [item.collection async for item in stranger.collections()] == []


async def test_roles_are_required_and_credentials_checked(guarded):
    async with (
        AsyncClient(guarded.grpc, token="staff", collection="acl") as staff,
        AsyncClient(guarded.grpc, token="nobody") as nobody,
        AsyncClient(guarded.grpc) as anonymous,
    ):
        with pytest.raises(errors.PermissionDenied):
            await put(staff, leave(99))
        with pytest.raises(errors.PermissionDenied):
            await staff.delete_collection("acl")
        with pytest.raises(errors.CredentialsInvalid):
            await nobody.ask(QUESTION)
        with pytest.raises(errors.CredentialsMissing):
            await anonymous.ask(QUESTION)
