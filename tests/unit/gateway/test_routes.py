"""Path templates of google.api.http."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import MalformedMessage
from gateway.routes import RouteTable, compile_template, contract_routes


@pytest.mark.parametrize(
    ("template", "path", "bound"),
    [
        ("/v1/things", "/v1/things", ()),
        ("/v1/things/{name}", "/v1/things/a", ("a",)),
        ("/v1/things/{name}", "/v1/things/a/b", None),
        ("/v1/things/{name}", "/v1/things/", None),
        ("/v1/things/{name}", "/v1/things/a:go", None),
        ("/v1/things/{name}:go", "/v1/things/a:go", ("a",)),
        ("/v1/things/{name}:go", "/v1/things/a", None),
        ("/v1/things/{name}:go", "/v1/things/a:stop", None),
        ("/v1/{name=things/*}", "/v1/things/a", ("things/a",)),
        ("/v1/{name=things/*/parts/**}", "/v1/things/a/parts/b/c", ("things/a/parts/b/c",)),
        ("/v1/things/*/parts", "/v1/things/a/parts", ()),
        ("/v1/things/{a.b=**}", "/v1/things/x/y:z", ("x/y:z",)),
        ("/v1/th.ngs", "/v1/things", None),
    ],
)
def test_a_template_binds_what_it_says(template, path, bound):
    pattern, _ = compile_template(template)
    found = pattern.fullmatch(path)
    assert (found.groups() if found else None) == bound


def test_a_template_names_its_field_paths():
    assert compile_template("/v1/{a}/x/{b.c=**}:go")[1] == ("a", "b.c")


@given(st.text(min_size=1).filter(lambda text: re.sub(r"[\ud800-\udfff]", "", text) == text))
def test_any_document_id_survives_its_way_through_a_path(document_id):
    path = f"/v1/collections/docs/documents/{quote(document_id)}"
    match = RouteTable(contract_routes()).find("GET", path)
    assert match is not None
    assert match.bound == {"collection": "docs", "document_id": document_id}


def test_a_known_path_tells_its_verbs():
    table = RouteTable(contract_routes())
    assert table.verbs("/v1/collections/docs/documents/a/b") == ("DELETE", "GET", "PUT")
    assert table.verbs("/v1/collections/docs:ask") == ("POST",)
    assert table.verbs("/v2/collections") == ()


def test_an_encoding_that_is_not_utf8_is_malformed():
    with pytest.raises(MalformedMessage):
        RouteTable(contract_routes()).find("GET", "/v1/collections/%c3%28")
