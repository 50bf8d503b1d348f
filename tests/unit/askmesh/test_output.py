"""What a person is told of an error."""

from __future__ import annotations

import pytest

from askmesh.output import print_error
from chassis.errors import BackendUnavailable, SearchUnavailable


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (BackendUnavailable("the service does not answer; try again", retry_after_s=1.0), True),
        (SearchUnavailable("both legs are down", retry_after_s=1.0), False),  # it does answer
    ],
)
def test_who_finds_nobody_is_told_how_to_start_it_and_how_to_look_elsewhere(capsys, error, is_told):
    print_error(error)
    said = " ".join(capsys.readouterr().err.split())
    assert "Try again in 1.0 s." in said
    assert ("askmesh up" in said and "ASKMESH_CLIENT_TARGET" in said) is is_told
