"""schemathesis against a real installation: whatever it makes of the description, no 500 and no Python text.

tests/contract/gateway/test_schemathesis.py checks the gateway's answers against the description, with services that say
what they are told to; here the services behind it are the real ones.
"""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, Phase, settings

from chassis.settings import load
from gateway.openapi import document
from gateway.settings import GatewaySettings
from tests.fuzzing import PYTHON_WORDS

EXAMPLES = 8  # per operation: some 15 s on two cores; most of it is the making of filters
NOT_READY = {"DEADLINE_EXCEEDED", "OVERLOADED", "RETRIEVER_UNAVAILABLE"}  # a shared machine stalls; both are typed

schema = schemathesis.openapi.from_dict(document(load(GatewaySettings)))


@schemathesis.check
def is_an_answer_of_the_contract(ctx, response, case):
    """No 500; an error has the one shape, a reason, and no words of Python's."""
    if response.status_code < 400 or case.method == "HEAD":
        return
    error = response.json()["error"]
    assert response.status_code < 500 or error["reason"] in NOT_READY, response.text
    assert error["reason"] != "INTERNAL"
    assert not PYTHON_WORDS.search(error["message"]), error["message"]


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_nothing_made_from_the_description_breaks_an_installation(case, installation):
    case.call_and_validate(base_url=installation.url, checks=[is_an_answer_of_the_contract])
