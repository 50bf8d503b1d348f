"""/openapi.json is true: whole, valid, and it names every route with its comments."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest

from chassis.settings import load
from gateway.openapi import document, path_of
from gateway.routes import contract_routes
from gateway.settings import GatewaySettings


@pytest.fixture(scope="module")
def api():
    return json.loads(json.dumps(document(load(GatewaySettings))))


def references_in(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from references_in(item)


def test_every_annotated_rpc_is_described_with_its_comment(api):
    for route in contract_routes():
        operation = api["paths"][path_of(route)][route.verb.lower()]
        assert operation["operationId"] == route.method.name
        assert operation["description"].startswith(route.method.name)


def test_every_reference_leads_somewhere(api):
    for reference in references_in(api):
        at = api
        for key in reference.removeprefix("#/").split("/"):
            at = at[key]
        assert at


def test_every_property_of_the_contracts_has_its_comment(api):
    for name, schema in api["components"]["schemas"].items():
        for field, property_ in schema.get("properties", {}).items():
            if name.startswith("rag."):
                assert property_.get("description"), f"{name}.{field}"


def test_schemas_are_json_schemas(api):
    for name in api["components"]["schemas"]:
        jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": api["components"]})


def test_operation_ids_are_unique(api):
    ids = [operation["operationId"] for verbs in api["paths"].values() for operation in verbs.values()]
    assert len(ids) == len(set(ids))


def test_a_path_variable_is_not_asked_for_again_in_the_body(api):
    body = api["components"]["schemas"]["rag.orchestrator.v1.AskRequestBody"]
    assert "collection" not in body["properties"]
    assert "question" in body["properties"]


def valid(api, schema, value):
    reference = {"$ref": f"#/components/schemas/{schema}", "components": api["components"]}
    return jsonschema_rs.is_valid(reference, value)


async def test_answers_and_errors_are_what_the_description_says(client, api):
    answer = (await client.post("/v1/collections/docs:ask", json={"question": "q"})).json()
    error = (await client.post("/v1/collections/docs:ask", json={"question": ""})).json()
    original = (await client.post("/v1/ask", json={"prompt": "q"})).json()
    assert valid(api, "rag.orchestrator.v1.AskResponse", answer)
    assert valid(api, "Error", error)
    assert valid(api, "OriginalAnswer", original)
    assert not valid(api, "Error", answer)
    assert not valid(api, "rag.orchestrator.v1.AskResponse", error)


async def test_the_originals_stream_is_what_the_description_says(client, api):
    operation = api["paths"]["/v1/ask/stream"]["get"]
    assert {"prompt", "topK", "filters"} <= {parameter.get("name") for parameter in operation["parameters"]}
    described = {
        event["title"]: event["properties"]["data"]
        for event in operation["responses"]["200"]["content"]["text/event-stream"]["schema"]["oneOf"]
    }
    response = await client.get("/v1/ask/stream", params={"prompt": "q"})
    sent = dict(line.split("\ndata: ", 1) for line in response.text.split("event: ")[1:] if "\ndata: " in line)
    [metadata] = [json.loads(data) for name, data in sent.items() if name == "metadata"]
    assert described["metadata"]["contentSchema"]["properties"].keys() == metadata.keys()
    schema = described["metadata"]["contentSchema"] | {"additionalProperties": False}
    assert jsonschema_rs.is_valid(schema, metadata)
