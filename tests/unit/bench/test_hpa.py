"""The simulated autoscaler says what Kubernetes' page says that the real one does."""

from __future__ import annotations

import pytest

from bench.scaling.hpa import Autoscaler, Controller, Policy, Rules, Unit, per_pod, utilisation

FREE = Rules([Policy(Unit.PERCENT, 10_000, 1.0)], 0.0)


def spec(up=FREE, down=FREE, low=1, high=1_000):
    return Autoscaler(low, high, up, down)


@pytest.mark.parametrize(
    ("current", "target", "wanted"),
    [(200, 100, 2), (50, 100, 1), (100, 100, 1), (109, 100, 1), (111, 100, 2)],  # 2.0 doubles; within 0.1 nothing
)
def test_one_pod_follows_the_ratio_outside_the_tolerance(current, target, wanted):
    assert utilisation(current, target, ready=1, replicas=1) == wanted


def test_four_pods_at_half_the_target_become_two():
    assert utilisation(50, 100, ready=4, replicas=4) == 2


@pytest.mark.parametrize(
    ("total", "replicas", "wanted"), [(200, 2, 14), (30, 2, 2), (32, 2, 2), (34, 2, 3), (1, 30, 1)]
)
def test_a_total_is_shared_out_at_the_target_for_each_pod(total, replicas, wanted):
    assert per_pod(total, 15, replicas) == wanted


def test_pods_that_are_not_ready_use_nothing_when_more_would_be_wanted():
    assert utilisation(140, 70, ready=2, replicas=2) == 4
    assert utilisation(140, 70, ready=2, replicas=4) == 4  # with two at nothing the average is at the target
    assert utilisation(350, 70, ready=2, replicas=4) == 10


def test_the_larger_of_two_metrics_counts():
    assert Controller(spec()).decide(0.0, 4, [3, 7]) == 7


def test_the_range_holds_whatever_is_wanted():
    assert Controller(spec(low=2, high=30)).decide(0.0, 2, [400]) == 30
    assert Controller(spec(low=2, high=30)).decide(0.0, 30, [0]) == 2


def test_scaling_up_takes_the_policy_that_allows_more():
    """The page's default: 100 % or 4 pods within 15 s, whichever is more."""
    up = Rules([Policy(Unit.PERCENT, 100, 15.0), Policy(Unit.PODS, 4, 15.0)], 0.0)
    controller, replicas, seen = Controller(spec(up=up)), 1, []
    for step in range(5):
        replicas = controller.decide(step * 15.0, replicas, [100])
        seen.append(replicas)

    assert seen == [5, 10, 20, 40, 80]


def test_what_was_added_within_the_period_counts_against_it():
    up = Rules([Policy(Unit.PODS, 4, 30.0)], 0.0)
    controller = Controller(spec(up=up))

    assert controller.decide(0.0, 2, [100]) == 6
    assert controller.decide(15.0, 6, [100]) == 6
    assert controller.decide(30.0, 6, [100]) == 10


def test_scaling_down_goes_as_in_the_pages_example():
    """From 80 with 4 pods or 10 % a minute: tenths, rounded up, until 40; then four at a time."""
    down = Rules([Policy(Unit.PODS, 4, 60.0), Policy(Unit.PERCENT, 10, 60.0)], 0.0)
    controller, replicas, seen = Controller(spec(down=down)), 80, []
    for minute in range(9):
        replicas = controller.decide(minute * 60.0, replicas, [10])
        seen.append(replicas)

    assert seen == [72, 64, 57, 51, 45, 40, 36, 32, 28]


def test_a_dip_within_the_window_takes_no_pod_away():
    down = Rules([Policy(Unit.PERCENT, 100, 15.0)], 300.0)
    controller = Controller(spec(down=down))

    assert controller.decide(0.0, 10, [10]) == 10
    assert [controller.decide(at, 10, [2]) for at in (15.0, 150.0, 300.0)] == [10, 10, 10]
    assert controller.decide(315.0, 10, [2]) == 2


def test_a_peak_shorter_than_the_window_adds_no_pod():
    up = Rules([Policy(Unit.PERCENT, 100, 15.0)], 60.0)
    controller = Controller(spec(up=up))

    assert controller.decide(0.0, 4, [4]) == 4
    assert controller.decide(15.0, 4, [8]) == 4
    assert controller.decide(75.0, 4, [8]) == 8
