"""A failed test shows what its servers said last."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from askmesh.rig.process import Recipe, Server
from tests.rig_logs import TAIL_BYTES, sections_of, servers_among

pytest_plugins = ["pytester"]


async def ready(server: Server) -> bool:
    return True


def server(folder, said):
    made = Server(Recipe("odd", "1", ["main"], lambda _: [], ready), folder)
    made.log.write_text(said)
    return made


def test_servers_are_found_as_fixtures_and_in_them(tmp_path):
    @dataclass
    class Cluster:
        words: Server
        name: str

    one, other = server(tmp_path, "one"), server(tmp_path, "other")
    assert servers_among([one, "text", Cluster(other, "n"), Cluster(one, "m")]) == [one, other]


def test_the_end_of_a_log_is_shown_and_where_the_rest_is(tmp_path):
    [(title, text)] = sections_of([server(tmp_path, "begin " + "." * TAIL_BYTES + " the end")])
    assert title == f"log of odd, whole in {tmp_path}/odd.log"
    assert text.endswith("the end")
    assert "begin" not in text


def test_a_server_that_never_started_has_none(tmp_path):
    made = server(tmp_path, "")
    made.log.unlink()
    assert sections_of([made]) == []


@pytest.mark.parametrize(("outcome", "is_shown"), [("assert False", True), ("pass", False)])
def test_a_failure_and_nothing_else_shows_them(pytester, tmp_path, outcome, is_shown):
    server(tmp_path, "the disk is on fire")
    pytester.makeconftest("from tests.conftest import pytest_runtest_makereport")
    pytester.makepyfile(
        f"""
        import pathlib, pytest
        from askmesh.rig.process import Recipe, Server

        @pytest.fixture
        def odd():
            return Server(Recipe("odd", "1", ["main"], None, None), pathlib.Path({str(tmp_path)!r}))

        def test_it(odd):
            {outcome}
        """
    )
    shown = pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:cacheprovider").stdout.str()
    assert ("the disk is on fire" in shown) is is_shown
