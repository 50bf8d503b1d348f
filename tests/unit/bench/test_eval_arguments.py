"""What `askmesh eval` makes of its arguments, before anything is measured."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from askmesh import exits
from askmesh.cli import root


def test_its_help_names_the_parts_and_the_options():
    told = CliRunner().invoke(root, ["eval", "--help"])

    assert told.exit_code == exits.OK
    assert "--search" in told.output
    assert "chunking" in told.output


@pytest.mark.parametrize("part", ["chunking", "answers", "cache", "golden"])
def test_a_part_that_the_cluster_does_not_measure_is_refused(part):
    told = CliRunner().invoke(root, ["eval", part, "--search", "cluster"])

    assert told.exit_code == exits.USAGE
    assert f"leave out {part}" in told.output
