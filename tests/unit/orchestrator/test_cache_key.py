"""Equal keys mean equal asks: hypothesis looks for two different asks with one key."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from chassis.identity import Identity
from orchestrator.cache.key import PipelineFingerprint, cache_key, normalised
from orchestrator.types import And, Comparison, Not, Operator, Or, Question, Sampling, Snapshot

words = st.text(alphabet='ab"[],\\:0 \u00e9', max_size=6)
scalars = st.one_of(
    words,
    st.booleans(),
    st.sampled_from([0.0, 1.0, 2.0, -1.5]),
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2030, 1, 1), timezones=st.just(UTC)),
)
comparisons = st.builds(Comparison, words, st.sampled_from(Operator), st.lists(scalars, max_size=3).map(tuple))
filters = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=6,
)
identities = st.builds(Identity, words, st.frozensets(words, max_size=3))
samplings = st.builds(
    Sampling, st.integers(1, 5), st.sampled_from([0.0, 0.2, 1.0]), st.one_of(st.none(), st.integers(0, 2))
)
questions = st.builds(
    Question,
    identity=identities,
    collection=st.just("docs"),
    text=words,
    request_id=st.just("r"),
    top_k=st.integers(1, 3),
    filter=filters,
    sampling=samplings,
)
snapshots = st.builds(Snapshot, words, st.integers(0, 2), words, words)
fingerprints = st.builds(PipelineFingerprint, words, words, words, words, words)


def typed(value):
    return (type(value).__name__, value)


def canonical(filter):
    match filter:
        case And(parts):
            return ("and", frozenset(map(canonical, parts)))
        case Or(parts):
            return ("or", frozenset(map(canonical, parts)))
        case Not(part):
            return ("not", canonical(part))
        case Comparison(name, operator, values):
            return (name, operator, frozenset(map(typed, values)))


def meaning(question, snapshot, pipeline):
    """What the key stands for, said without hashing."""
    return (
        question.identity.tenant,
        question.identity.readable_groups,
        canonical(question.filter),
        question.top_k,
        question.sampling,
        snapshot.collection_uid,
        snapshot.retrieval_fingerprint,
        snapshot.embedder_fingerprint,
        pipeline,
        normalised(question.text),
    )


asks = st.tuples(questions, snapshots, fingerprints)


@given(asks, asks)
def test_two_asks_have_one_key_exactly_when_they_mean_the_same(first, second):
    assert (cache_key(*first) == cache_key(*second)) == (meaning(*first) == meaning(*second))


@given(asks, st.data())
def test_changing_any_one_part_changes_the_key(ask, data):
    question, snapshot, pipeline = ask
    changed = data.draw(
        st.sampled_from(
            [
                (replace(question, top_k=question.top_k + 1), snapshot, pipeline),
                (replace(question, text=question.text + "x"), snapshot, pipeline),
                (replace(question, filter=Not(question.filter)), snapshot, pipeline),
                (replace(question, identity=replace(question.identity, tenant="other!")), snapshot, pipeline),
                (question, replace(snapshot, collection_uid=snapshot.collection_uid + "x"), pipeline),
                (question, replace(snapshot, retrieval_fingerprint=snapshot.retrieval_fingerprint + "x"), pipeline),
                (question, snapshot, replace(pipeline, prompt=pipeline.prompt + "x")),
                (question, snapshot, replace(pipeline, guard=pipeline.guard + "x")),
            ]
        )
    )
    assert cache_key(*changed) != cache_key(question, snapshot, pipeline)


@given(questions, snapshots, fingerprints)
def test_the_generation_is_not_in_the_key(question, snapshot, pipeline):
    later = replace(snapshot, generation=snapshot.generation + 1)
    assert cache_key(question, later, pipeline) == cache_key(question, snapshot, pipeline)


def test_the_same_moment_in_two_zones_is_one_value():
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    there = moment.astimezone(timezone(timedelta(hours=2)))
    keys = {cache_key(_with(value), SNAP, PIPE) for value in (moment, there)}
    assert len(keys) == 1


def test_one_true_and_the_string_are_three_values():
    assert len({cache_key(_with(value), SNAP, PIPE) for value in (1.0, True, "1", "1.0", "true")}) == 5


def test_a_lone_surrogate_is_hashed_and_does_not_fail():
    assert cache_key(_with("\ud800"), SNAP, PIPE) != cache_key(_with("\ud801"), SNAP, PIPE)


SNAP = Snapshot("u", 1, "r", "e")
PIPE = PipelineFingerprint("g", "p", "e", "g", "r")


def _with(value):
    return Question(
        identity=Identity("t"),
        collection="docs",
        text="q",
        request_id="r",
        filter=Comparison("f", Operator.EQ, (value,)),
    )
