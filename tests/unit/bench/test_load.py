"""The load is what it says: its rate, its questions, and bars that cannot be met by nothing."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest

from bench.load.arrivals import Stage, arrivals, profile, rate_at
from bench.load.asks import MIX, Kind, Outcome, Questions
from bench.load.verdict import Bars, judge

GOOD = Outcome(Kind.COLD, 0.0, 0.0, 0.1, 0.2, "MISS")
HIT = Outcome(Kind.CACHE, 0.0, 0.0, 0.1, 0.1, "HIT_EXACT")


def test_the_profile_is_the_originals_10_30_50_10_0():
    stages = profile(60.0, 1.0)

    assert [rate_at(stages, at) for at in (30.0, 90.0, 150.0, 210.0, 255.0)] == [10.0, 30.0, 50.0, 10.0, 0.0]
    assert rate_at(stages, 67.5) == pytest.approx(20.0)  # on the way from 10 to 30


def test_arrivals_come_at_the_rate_of_their_time_whatever_was_answered():
    stages = (Stage(0.0, 20.0), Stage(100.0, 20.0), Stage(100.0, 60.0))

    times = list(arrivals(stages, random.Random(1)))

    steady = sum(at < 100 for at in times)
    assert 1_800 < steady < 2_200  # 2,000 and five standard deviations
    assert 3_700 < len(times) - steady < 4_300  # 4,000 on the way from 20 to 60
    assert times == sorted(times)


def test_no_new_question_is_asked_twice_and_no_two_runs_ask_the_same():
    one, other = (Questions(["How?", "Why?"], random.Random(0), run) for run in (1, 2))

    asked = [one.new() for _ in range(500)] + [other.new() for _ in range(500)]

    assert len(set(asked)) == 1_000


def test_a_known_question_is_one_that_was_answered():
    questions = Questions(["How?"], random.Random(0), 1)
    assert questions.known() == "Case 1-0: How?"  # none yet: a new one
    questions.answered("Case 1-0: How?")

    assert {questions.known() for _ in range(20)} == {"Case 1-0: How?"}


def test_at_least_half_of_a_load_is_work_that_no_cache_takes_away():
    assert sum(MIX.values()) == pytest.approx(1.0)
    assert MIX[Kind.COLD] + MIX[Kind.WARM] + MIX[Kind.CANCEL] >= 0.5


def test_a_bar_without_samples_is_missed():
    assert [check.is_met for check in judge([], Bars())] == [False] * 8


def test_a_good_load_meets_every_bar():
    assert all(check.is_met for check in judge([GOOD] * 20 + [HIT] * 10, Bars()))


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"total_s": 3.0}, "answer p95, s"),
        ({"first_token_s": 1.5}, "first word p95, s"),
        ({"failure": "INTERNAL"}, "failed"),
        ({"failure": "OVERLOADED", "is_refused": True}, "refused with RetryInfo"),
        ({"is_degraded": True}, "degraded"),
        ({"cache": "HIT_EXACT"}, "new questions from a cache"),
        ({"late_s": 1.0}, "driver late p99, s"),
    ],
)
def test_each_fault_misses_its_own_bar(change, missed):
    faulty = [dataclasses.replace(GOOD, **change)] * 10

    checks = judge([GOOD] * 20 + [HIT] * 10 + faulty, Bars())

    assert Counter(check.name for check in checks if not check.is_met) == {missed: 1}


def test_a_cache_that_answers_nothing_misses_its_bar():
    checks = judge([GOOD] * 20 + [dataclasses.replace(HIT, cache="MISS")] * 10, Bars())

    assert [check.name for check in checks if not check.is_met] == ["repeated ones from the cache"]
