"""DenseLeg, LexicalLeg and ChunkStore: what every pair of search stores must do."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, SearchUnavailable
from retriever.types import And, Comparison, Operator, Snapshot, version_of
from tests.contract.search.samples import (
    TENANT,
    budget,
    by_id,
    chunk,
    random_unit,
    record,
    scope,
    texts_of,
    unit,
    vectors_of,
    written,
)

UID = "uid-1"
ONE_COMMIT = Snapshot(UID, generation=1, high=1)


@pytest.fixture(params=["dense", "lexical"])
def leg(request, leaves):
    """Each leg in turn, with a search that finds everything the samples hold ("word" is in every text)."""
    store = getattr(leaves, request.param)
    query = unit(1.0) if request.param == "dense" else "word"

    async def search(within, limit=100, limit_s=30.0):
        return await store.search(query, within, limit, budget=budget(limit_s))

    store.find = search
    return store


async def put(store, documents, *, uid=UID, tenant=TENANT, vectors=None):
    """Write a transaction's documents, and seal it."""
    rows = vectors_of(documents) if vectors is None else vectors
    await store.write(tenant, uid, documents, rows, budget=budget())
    return await store.seal(tenant, uid, documents[0][0].version >> 16, budget=budget())


async def test_seal_counts_the_chunks_of_its_transaction_only(leg):
    first = await put(leg, [written("a", 1, 0, ["word a", "word b"]), written("b", 1, 1, ["word c"])])
    second = await put(leg, [written("c", 2, 0, ["word d"])])
    assert (first, second) == (3, 1)


async def test_writing_the_same_chunks_again_changes_nothing(leg):
    documents = [written("a", 1, 0, ["word a", "word b"])]
    await put(leg, documents)
    assert await put(leg, documents) == 2
    assert sorted(texts_of(await leg.find(scope(ONE_COMMIT)))) == ["word a", "word b"]


async def test_a_hit_carries_the_whole_chunk_and_its_document(leg):
    version = version_of(1, 0)
    meta = {"team": "blue", "year": 2024.0, "open": True, "since": record("x").updated_at}
    document = record("a/b c.md", version, title="T", uri="u", source="s", metadata=meta, groups=("*", "g"))
    piece = chunk(version, 0, "word", embed_text="T > S\nword", section="S", page=3, start_char=5, end_char=9)
    other = chunk(version, 1, "word two", embed_text="entirely different word", section="", page=0)
    await put(leg, [(document, [piece, other])])
    hits = await leg.find(scope(ONE_COMMIT))
    assert {hit.chunk for hit in hits} == {piece, other}
    assert {hit.document.document_id: hit.document for hit in hits} == {"a/b c.md": document}


@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        (Operator.EXISTS, (), ["long", "short"]),
        (Operator.EQ, ("\u20ac" * 1_024,), ["short"]),
        (Operator.NE, ("\u20ac" * 1_024,), ["long"]),
        (Operator.GT, ("\u20ac" * 1_024,), ["long"]),
        (Operator.LE, ("\u20ac" * 1_024,), ["short"]),
    ],
)
async def test_a_value_longer_than_any_index_takes_is_stored_and_compared(leg, operator, value, found):
    """Lucene ends at 32,766 bytes. A section is as long as its document's headings, in archives from elsewhere, too."""
    kept, _ = written("long", 1, 0, ["word"])
    other, _ = written("short", 1, 1, ["word"])
    sections = {"long": "\u20ac" * 20_000, "short": "\u20ac" * 1_024}
    await put(
        leg,
        [(each, [chunk(each.version, 0, "word", section=sections[each.document_id])]) for each in (kept, other)],
    )
    hits = await leg.find(scope(ONE_COMMIT, filter=Comparison("section", operator, value)))
    assert sorted(by_id(hits)) == found
    assert all(hit.chunk.section == sections[hit.document.document_id] for hit in hits)


async def test_numbers_that_are_open_aborted_or_not_given_out_are_invisible(leg):
    for number in range(1, 7):
        await put(leg, [written(f"d{number}", number, 0, ["word"])])
    snapshot = Snapshot(UID, generation=3, high=5, excluded=((2, 3), (5, 5)))
    assert sorted(by_id(await leg.find(scope(snapshot)))) == ["d1", "d4"]


async def test_the_aborted_transactions_of_years_cost_a_search_little(leg):
    """Each leaves a range for good. As ranges 500 of them took Weaviate .75 s, three timeboxes; 5,000 take 40 ms."""
    await put(leg, [written("a", 1, 0, ["word"])])
    await put(leg, [written("aborted", 4_001, 0, ["word"])])
    await put(leg, [written("b", 10_002, 0, ["word"])])
    singles = [(number, number) for number in range(3, 9_800, 2)]
    wide = [(9_801, 9_900), (9_950, 10_001)]
    snapshot = Snapshot(UID, generation=3, high=10_002, excluded=(*singles, *wide))
    hits = await leg.find(scope(snapshot), limit_s=3.0)
    assert sorted(by_id(hits)) == ["a", "b"]


async def test_dead_versions_are_invisible_before_they_are_purged(leg):
    await put(leg, [written("a", 1, 0, ["word old"]), written("b", 1, 1, ["word"])])
    await put(leg, [written("a", 2, 0, ["word new"])])
    snapshot = Snapshot(UID, generation=2, high=2, dead=frozenset({version_of(1, 0)}))
    assert sorted(texts_of(await leg.find(scope(snapshot)))) == ["word", "word new"]


async def test_an_old_snapshot_still_sees_what_it_saw(leg):
    await put(leg, [written("a", 1, 0, ["word old"])])
    assert texts_of(await leg.find(scope(ONE_COMMIT))) == ["word old"]
    await put(leg, [written("a", 2, 0, ["word new"])])
    assert texts_of(await leg.find(scope(ONE_COMMIT))) == ["word old"]


async def test_another_tenant_finds_nothing_even_with_the_same_uid(leg):
    await put(leg, [written("a", 1, 0, ["word"])])
    assert await leg.find(scope(ONE_COMMIT, tenant="other")) == []
    await put(leg, [written("b", 1, 0, ["word"])], tenant="other")
    assert by_id(await leg.find(scope(ONE_COMMIT, tenant="other"))) == ["b"]
    assert by_id(await leg.find(scope(ONE_COMMIT))) == ["a"]


@pytest.mark.parametrize(
    ("groups", "visible"),
    [
        (("*",), ["all"]),
        (("*", "hr"), ["all", "hr"]),
        (("*", "hr", "law"), ["all", "both", "hr"]),
        (("hr",), ["hr"]),
        ((), []),
        (("*') OR 1=1 --",), []),
    ],
)
async def test_only_documents_of_the_readers_groups_are_found(leg, groups, visible):
    documents = [
        written("all", 1, 0, ["word"], groups=("*",)),
        written("hr", 1, 1, ["word"], groups=("hr", "boss")),
        written("both", 1, 2, ["word"], groups=("law",)),
    ]
    await put(leg, documents)
    assert sorted(by_id(await leg.find(scope(ONE_COMMIT, groups=groups)))) == visible


async def test_documents_written_after_a_search_are_found_by_the_next_one_with_the_same_filter(leg):
    wanted = And((Comparison("source", Operator.EQ, ("s",)),))
    await put(leg, [written("a", 1, 0, ["word"], source="s"), written("x", 1, 1, ["word"], source="t")])
    assert by_id(await leg.find(scope(ONE_COMMIT, filter=wanted))) == ["a"]
    await put(leg, [written("b", 2, 0, ["word"], source="s"), written("y", 2, 1, ["word"], source="t")])
    later = replace(ONE_COMMIT, generation=2, high=2)
    assert sorted(by_id(await leg.find(scope(later, filter=wanted)))) == ["a", "b"]


async def test_a_narrow_filter_still_fills_the_limit(leg):
    many = [written(f"d{n:03}", 1, n, ["word"], source="rare" if n % 40 == 0 else "common") for n in range(200)]
    await put(leg, many)
    rare = scope(ONE_COMMIT, filter=Comparison("source", Operator.EQ, ("rare",)))
    assert len(await leg.find(rare, limit=3)) == 3
    assert len(await leg.find(rare, limit=100)) == 5


async def test_purge_removes_a_bounded_number_and_says_what_remains(leg):
    await put(leg, [written("a", 1, 0, ["word"] * 2_500), written("b", 1, 1, ["word kept"])])
    doomed = [version_of(1, 0)]
    remaining = [await leg.purge(TENANT, UID, doomed, budget=budget())]
    assert 0 < remaining[0] < 2_500
    while remaining[-1]:
        remaining.append(await leg.purge(TENANT, UID, doomed, budget=budget()))
    assert remaining == sorted(remaining, reverse=True)
    assert texts_of(await leg.find(scope(ONE_COMMIT))) == ["word kept"]


async def test_purging_a_range_removes_every_version_of_an_aborted_transaction(leg):
    await put(leg, [written("a", 1, 0, ["word"]), written("b", 1, 1, ["word"])])
    await put(leg, [written("c", 2, 0, ["word"])])
    everything = range(version_of(1, 0), version_of(2, 0))
    assert await leg.purge(TENANT, UID, everything, budget=budget()) == 0
    assert by_id(await leg.find(scope(replace(ONE_COMMIT, high=2)))) == ["c"]


async def test_purging_what_is_not_there_is_done_at_once(leg):
    assert await leg.purge(TENANT, "never written", [1, 2], budget=budget()) == 0


async def test_drop_removes_one_uid_and_may_be_repeated(leg):
    await put(leg, [written("a", 1, 0, ["word"])])
    await put(leg, [written("b", 1, 0, ["word"])], uid="uid-2")
    await leg.drop(TENANT, UID, budget=budget())
    await leg.drop(TENANT, UID, budget=budget())
    assert await leg.find(scope(ONE_COMMIT)) == []
    assert by_id(await leg.find(scope(replace(ONE_COMMIT, uid="uid-2")))) == ["b"]


async def test_chunks_survive_closing_and_opening(open_leaves, tmp_path):
    async with open_leaves(tmp_path / "kept") as first:
        documents = [written("a", 1, 0, ["word one"])]
        await put(first.dense, documents)
        await put(first.lexical, documents)
        # A collection without a head would be swept as left over.
        await _give_head(first)
    async with open_leaves(tmp_path / "kept") as second:
        dense = await second.dense.search(unit(1.0), scope(ONE_COMMIT), 5, budget=budget())
        lexical = await second.lexical.search("word", scope(ONE_COMMIT), 5, budget=budget())
        assert texts_of(dense) == texts_of(lexical) == ["word one"]


async def _give_head(leaves):
    from retriever.ingest.ledger import new_head  # noqa: PLC0415  # the one place that needs it
    from tests.contract.search.samples import WHEN  # noqa: PLC0415

    await leaves.heads.swap(new_head(TENANT, "c", uid=UID, embedder_fingerprint="e", now=WHEN), budget=budget())


async def test_a_spent_budget_is_refused_before_any_work(leg):
    with pytest.raises(DeadlineExceeded):
        await leg.write(TENANT, UID, [written("a", 1, 0, ["word"])], random_unit(0, 1), budget=Budget.of(-1))
    assert await leg.seal(TENANT, UID, 1, budget=budget()) == 0


async def test_searches_while_others_write_see_whole_transactions_only(leg):
    """A number is excluded while it is open, since few stores write a batch as one; once sealed, all of it is there."""
    sealed = 1
    await put(leg, [written("d1.0", 1, 0, ["word"]), written("d1.1", 1, 1, ["word"])])

    async def write():
        nonlocal sealed
        for number in range(2, 12):
            await put(leg, [written(f"d{number}.{n}", number, n, ["word"]) for n in range(2)])
            sealed = number

    async def read():
        for _ in range(40):
            seen = sealed
            snapshot = replace(ONE_COMMIT, high=20, excluded=((seen + 1, 20),))
            assert len(await leg.find(scope(snapshot))) == 2 * seen

    await asyncio.gather(write(), read(), read())


# The dense leg


async def test_dense_hits_come_by_cosine_best_first(leaves):
    documents = [written(name, 1, at, ["word"]) for at, name in enumerate(["far", "near", "nearest", "opposite"])]
    vectors = [unit(0.1, 1.0), unit(1.0, 0.5), unit(1.0, 0.0), unit(-1.0, 0.0)]
    import numpy as np  # noqa: PLC0415

    await put(leaves.dense, documents, vectors=np.stack(vectors))
    hits = await leaves.dense.search(unit(1.0), scope(ONE_COMMIT), 3, budget=budget())
    assert by_id(hits) == ["nearest", "near", "far"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.8944272, 0.0995037], abs=1e-6)


async def test_a_lexical_only_collection_keeps_no_vectors(leaves):
    documents = [written("a", 1, 0, ["word"])]
    await leaves.dense.write(TENANT, UID, documents, None, budget=budget())
    assert await leaves.dense.seal(TENANT, UID, 1, budget=budget()) == 0
    assert await leaves.dense.search(unit(1.0), scope(ONE_COMMIT), 5, budget=budget()) == []


async def test_a_query_vector_of_another_length_is_refused(leaves):
    await put(leaves.dense, [written("a", 1, 0, ["word"])])
    with pytest.raises(SearchUnavailable):
        await leaves.dense.search(unit(1.0)[:4], scope(ONE_COMMIT), 5, budget=budget())


# The lexical leg


async def test_lexical_hits_prefer_rare_words_and_larger_is_better(leaves):
    await put(
        leaves.lexical,
        [
            written("rare", 1, 0, ["the quarterly turnover of the bakery"]),
            written("common", 1, 1, ["the bakery and the bakery"]),
            *(written(f"d{n}", 1, 2 + n, ["the bakery is open"]) for n in range(8)),
        ],
    )
    hits = await leaves.lexical.search("What was the turnover of the bakery?", scope(ONE_COMMIT), 20, budget=budget())
    assert by_id(hits)[0] == "rare"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("query", ["baking", "BAKED", "bakes", "Bäkes"])
async def test_words_match_by_stem_case_and_accents_aside(leaves, query):
    await put(leaves.lexical, [written("a", 1, 0, ["They bake."]), written("b", 1, 1, ["They sell."])])
    assert by_id(await leaves.lexical.search(query, scope(ONE_COMMIT), 5, budget=budget())) == ["a"]


@pytest.mark.parametrize(
    ("query", "found"),
    [("冷却水的温度是多少?", "zh"), ("保修期", "zh"), ("始業時刻は何時ですか", "ja"), ("型号K400", "k")],
)
async def test_words_are_found_in_scripts_without_blanks(leaves, query, found):
    texts = {
        "zh": "冷却水的温度不得超过六十五摄氏度。保修期为两年。",
        "ja": "始業時刻は午前八時三十分とする。",
        "k": "型号是K400的机器。",
        "other": "滤网每两周清洗一次。",
    }
    await put(leaves.lexical, [written(name, 1, n, [text]) for n, (name, text) in enumerate(texts.items())])
    assert by_id(await leaves.lexical.search(query, scope(ONE_COMMIT), 5, budget=budget()))[0] == found


async def test_a_version_is_found_as_a_whole_and_not_by_its_digits(leaves):
    texts = {
        "notes": "Release 4.2.0 is out.",
        "count": "2 of 4, 0 of 2, 4 of 0, 2 and 4.",
        "older": "Release 4.0.2 is out.",
    }
    await put(leaves.lexical, [written(name, 1, n, [text]) for n, (name, text) in enumerate(texts.items())])
    assert by_id(await leaves.lexical.search("4.2.0", scope(ONE_COMMIT), 5, budget=budget()))[0] == "notes"


async def test_headings_are_searched_too(leaves):
    version = version_of(1, 0)
    piece = chunk(version, 0, "It is ten days.", embed_text="Handbook > Holidays\nIt is ten days.")
    await put(leaves.lexical, [(record("a", version), [piece])])
    assert by_id(await leaves.lexical.search("holidays", scope(ONE_COMMIT), 5, budget=budget())) == ["a"]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "*",
        "word*",
        "NOT word",
        "word AND",
        "NEAR(",
        "text:word",
        "-word",
        "^word",
        "(word",
        "word' OR '1",
        "\x00word",
        ";--",
    ],
)
async def test_a_question_is_never_query_syntax(leaves, query):
    await put(leaves.lexical, [written("a", 1, 0, ["a word here"])])
    found = by_id(await leaves.lexical.search(query, scope(ONE_COMMIT), 5, budget=budget()))
    assert found == (["a"] if "word" in query else [])


async def test_a_question_of_stop_words_alone_still_finds_them(leaves):
    await put(leaves.lexical, [written("a", 1, 0, ["The Who played"]), written("b", 1, 1, ["others sang"])])
    assert by_id(await leaves.lexical.search("who", scope(ONE_COMMIT), 5, budget=budget())) == ["a"]


async def test_scores_do_not_depend_on_other_tenants_documents(leaves):
    await put(leaves.lexical, [written("a", 1, 0, ["red apple"]), written("b", 1, 1, ["green pear"])])
    (before,) = await leaves.lexical.search("apple", scope(ONE_COMMIT), 5, budget=budget())
    crowd = [written(f"x{n}", 1, n, ["apple apple"]) for n in range(50)]
    await put(leaves.lexical, crowd, tenant="other")
    (after,) = await leaves.lexical.search("apple", scope(ONE_COMMIT), 5, budget=budget())
    assert after.score == before.score


# OpenSearch counts words over segments and keeps deleted chunks in theirs until a merge takes them out (its replicas
# may still ask for them): there, scores forget a purge later. Whose words are found is not concerned.
KEEP_STATISTICS = {"cluster", "opensearch"}


async def test_purged_words_leave_the_statistics(request, leaves):
    if request.node.callspec.params["open_leaves"] in KEEP_STATISTICS:
        pytest.skip("purged words leave OpenSearch's statistics with a later merge")
    await put(leaves.lexical, [written("a", 1, 0, ["red apple"]), written("b", 1, 1, ["green pear"])])
    (before,) = await leaves.lexical.search("apple", scope(ONE_COMMIT), 5, budget=budget())
    await put(leaves.lexical, [written(f"x{n}", 2, n, ["apple apple 冷却水"]) for n in range(50)])
    doomed = range(version_of(2, 0), version_of(3, 0))
    assert await leaves.lexical.purge(TENANT, UID, doomed, budget=budget()) == 0
    (after,) = await leaves.lexical.search("apple", scope(ONE_COMMIT), 5, budget=budget())
    assert after.score == pytest.approx(before.score)
