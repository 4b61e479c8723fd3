"""Intervals and tests against those of scipy, and cases that cannot be decided."""

import math

import pytest
from scipy import stats

from ddspec.dsl.record.record import Accuracy
from ddspec.dsl.record.results import mean_and_deviation
from ddspec.dsl.record.statistics import equal_to_rounding, half_interval, holm, welch


def accuracy(*values: float) -> Accuracy:
    mean = sum(values) / len(values)
    std = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    return Accuracy(
        mean=mean,
        std=std,
        n=len(values),
        values=values,
        network="convnet",
        choose="last",
        iteration=300,
    )


@pytest.mark.parametrize("values", [(60.0, 62.0), (60.0, 61.5, 63.0, 58.2), (50.0, 51.0) * 40])
def test_interval_is_the_one_scipy_computes(values):
    sample = accuracy(*values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=sample.mean, scale=stats.sem(values))

    half = half_interval(sample)
    assert half is not None
    assert (sample.mean - half, sample.mean + half) == pytest.approx((low, high))


def test_a_single_network_has_no_interval():
    assert half_interval(accuracy(60.0)) is None


def test_welch_is_the_test_that_scipy_computes():
    first, second = (60.0, 61.5, 63.0, 58.2), (66.0, 64.5, 65.0)
    expected = stats.ttest_ind(first, second, equal_var=False)

    test = welch(accuracy(*first), accuracy(*second))
    assert test is not None
    assert test.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert test.difference - test.half == pytest.approx(low)
    assert test.difference + test.half == pytest.approx(high)


@pytest.mark.parametrize("other", [(50.0,), (60.0, 60.0)])
def test_nothing_is_decided_without_spread(other):
    assert welch(accuracy(60.0, 60.0), accuracy(*other)) is None


def test_holm_adjusts_in_order_of_size_and_never_past_one():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_mean_and_deviation_do_not_depend_on_the_version_of_python():
    # From 3.12 on, the built-in sum of these is 44.35, before 44.349999999999994.
    mean, std = mean_and_deviation((8.7, 9.15, 8.78, 8.68, 9.04))
    assert mean == 8.87
    assert std == math.sqrt(math.fsum((v - 8.87) ** 2 for v in (8.7, 9.15, 8.78, 8.68, 9.04)) / 5)


@pytest.mark.parametrize(
    ("first", "other", "equal"),
    [
        (8.87, 8.870000000000001, True),
        (0.0, 3e-16, True),
        (math.nan, math.nan, True),
        (8.87, 8.8700001, False),
        (8.87, math.nan, False),
        (math.inf, 1e300, False),
    ],
)
def test_numbers_are_equal_up_to_rounding(first, other, equal):
    assert equal_to_rounding(first, other) == equal_to_rounding(other, first) == equal
