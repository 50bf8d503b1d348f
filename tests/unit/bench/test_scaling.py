"""The ramp's simulation, on pods whose behaviour is known, and the one place its numbers come from."""

from __future__ import annotations

import tomllib

import pytest

from bench.scaling import ramp
from bench.scaling.capacity import DEPLOY, Step, is_carried, knee, read, target, written
from bench.scaling.chart import svg
from bench.scaling.hpa import Autoscaler, Policy, Rules, Unit
from bench.scaling.simulate import Delays, Pod, Targets, simulate, verdict

ROOT = DEPLOY.parent
UNLOADED = Step(0.0, 5.0, 8.0, 1.0, 0.0, 5.0, 200)
TWENTY = Step(20.0, 6.0, 12.0, 1.0, 0.0, 5.0, 400)
FORTY = Step(40.0, 20.0, 80.0, 0.5, 0.25, 5.0, 800)
SPEC = Autoscaler(
    2, 30,
    Rules([Policy(Unit.PERCENT, 100, 30.0), Policy(Unit.PODS, 4, 30.0)], 0.0),
    Rules([Policy(Unit.PERCENT, 50, 60.0)], 300.0),
)  # fmt: skip
TARGETS = Targets(rps=10.0, cpu_share=0.7, cpu_requested=2.0)


def moments(rate, seconds=600, **delays):
    return simulate(
        rate, seconds, pod=Pod([UNLOADED, TWENTY, FORTY]), spec=SPEC, targets=TARGETS, delays=Delays(**delays)
    )


def test_the_knee_is_the_last_rate_before_the_first_that_is_not_carried():
    assert knee([UNLOADED, TWENTY, FORTY]) == 20.0
    late = Step(30.0, 6.0, 16.1, 1.0, 0.0, 5.0, 600)  # more than twice 8 ms
    assert knee([UNLOADED, late, Step(35.0, 6.0, 12.0, 1.0, 0.0, 5.0, 700)]) == 0.0


def test_one_refusal_is_one_too_many():
    assert not is_carried(Step(20.0, 6.0, 12.0, 0.999, 0.001, 5.0, 1_000), UNLOADED)


def test_between_two_measured_rates_a_pod_is_in_between():
    step = Pod([UNLOADED, TWENTY, FORTY]).at(30.0)

    assert (step.p95_ms, step.full, step.refused) == (46.0, 0.75, 0.125)


def test_past_the_last_measured_rate_a_pod_answers_no_more_than_there():
    step = Pod([UNLOADED, TWENTY, FORTY]).at(80.0)

    assert 80.0 * (1 - step.refused) == pytest.approx(30.0)  # three quarters of 40
    assert 80.0 * step.full == pytest.approx(20.0)


def test_a_steady_rate_settles_at_rate_by_target_and_stays():
    replicas = [each.replicas for each in moments(lambda _: 100.0)]

    assert replicas[-1] == 10
    assert replicas[-300:] == [10] * 300


def test_a_new_pod_answers_only_once_it_is_ready():
    seen = moments(lambda at: 10.0 if at < 120 else 100.0, start_s=50.0)

    added = next(each.at_s for each in seen if each.replicas > 2)
    ready = next(each.at_s for each in seen if each.ready > 2)
    assert ready - added == 49.0  # a second's decision is seen in the next second


def test_nothing_is_seen_before_a_scrape_has_seen_it():
    seen = moments(lambda at: 10.0 if at < 121 else 200.0)

    assert next(each.at_s for each in seen if each.replicas > 2) >= 135.0  # the first scrape after the jump


def test_pods_go_only_after_five_minutes_without_need_and_by_half_a_minute_at_most():
    seen = moments(lambda at: 100.0 if at < 300 else 10.0, 1_200)

    counts = [each.replicas for each in seen]
    assert min(counts[120:601]) == 10
    assert all(later >= before // 2 for before, later in zip(counts, counts[60:], strict=False))
    assert counts[-1] == 2


def test_a_verdict_counts_what_callers_saw():
    found = verdict(moments(lambda at: 10.0 if at < 120 else 200.0, start_s=20.0), 120.0)

    assert found.most_replicas == 20
    assert 0.0 < found.refused < 0.5
    assert 15.0 < found.to_capacity_s < 300.0


def test_a_chart_is_the_same_file_for_the_same_run():
    run = moments(lambda _: 50.0)

    assert svg("a", run) == svg("a", run)
    assert svg("a", run).count("<polyline") == 4


# --- deploy/scaling ---


def test_the_scaled_object_asks_of_a_replica_what_it_was_measured_to_carry_less_the_headroom():
    assert ramp.thresholds().rps == target(read())


def test_the_simulated_autoscaler_has_the_originals_range_and_behaviour():
    simulated = ramp.autoscaler()

    assert (simulated.min_replicas, simulated.max_replicas) == (2, 30)
    assert simulated.up == Rules([Policy(Unit.PERCENT, 100, 30), Policy(Unit.PODS, 4, 30)], 0)
    assert simulated.down == Rules([Policy(Unit.PERCENT, 50, 60)], 300)
    assert ramp.thresholds().cpu_share == 0.7
    assert (ramp.LOW_RPS, ramp.HIGH_RPS) == (10.0, 200.0)


def test_the_page_says_what_was_measured_and_what_comes_out():
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")

    assert f"{knee(read()):.0f} retrievals per second" in page
    for length in ramp.RAMPS_S.values():
        for start_s in ramp.STARTS_S.values():
            seen = verdict(ramp.moments(length, start_s), ramp.QUIET_S)
            assert f"| {seen.most_replicas} | {seen.to_capacity_s:.0f} s | {seen.refused:.1%} |" in page


def test_what_is_written_is_read_again():
    steps = [UNLOADED, TWENTY, FORTY]

    assert [Step(**step) for step in tomllib.loads(written(steps, 0.1))["step"]] == steps
