"""Results: accuracies by every choice, and the comparison with published numbers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing.loader import load_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.record.record import Accuracy, Evaluated
from ddspec.dsl.record.results import (
    accuracy_of,
    chosen_accuracy,
    compare_with_published,
    distilled_sets,
    iterations_to_reach,
    welch_with_published,
)
from ddspec.dsl.record.statistics import REPRODUCTION_LEVEL, TEST_LEVEL, welch
from ddspec.dsl.spec.evaluation import Expectation

MINIMAL = Path(__file__).parents[1] / "golden" / "valid" / "minimal.toml"


def measured(mean: float, std: float, n: int) -> Accuracy:
    return Accuracy(
        mean=mean, std=std, n=n, values=(), network="convnet", choose="last", iteration=1
    )


def published(mean: float, std: float | None, n: int | None) -> Expectation:
    return Expectation(
        network="convnet", accuracy=mean, std=std, n=n, choose="last", source="Nobody, Table 0"
    )


@pytest.mark.parametrize("difference", [0.1, 0.5, 1.0, 1.2, 1.5, 3.0])
def test_verdict_on_a_published_number_is_welchs(difference):
    verdict = compare_with_published(published(50.0, 0.6, 5), measured(50 + difference, 0.9, 5))
    # The population's std of n values is the sample's times sqrt((n - 1) / n).
    sample = (5 / 4) ** 0.5
    expected = stats.ttest_ind_from_stats(
        50 + difference, 0.9 * sample, 5, 50.0, 0.6 * sample, 5, equal_var=False
    )
    assert verdict.verdict == ("differs" if expected.pvalue < TEST_LEVEL else "agrees")


@pytest.mark.parametrize(("std", "n"), [(None, 5), (0.6, None), (0.6, 1)])
def test_published_number_without_a_spread_decides_nothing(std, n):
    assert compare_with_published(published(50, std, n), measured(9, 1, 5)).verdict == (
        "not decidable"
    )


def test_reproduction_needs_stronger_evidence_than_a_comparison():
    test = welch(measured(51.2, 0.9, 5), measured(50, 0.6, 5))
    assert test.p > REPRODUCTION_LEVEL
    assert test.differs() == (test.p < TEST_LEVEL)
    assert not test.differs(REPRODUCTION_LEVEL)


def evaluated(iteration, values, validation=(), subject="distilled", network="convnet"):
    return Evaluated(
        subject=subject,
        network=network,
        iteration=iteration,
        student_lr=0.01,
        values=tuple(map(float, values)),
        validation=tuple(map(float, validation)),
        ran_away=0,
    )


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_accuracy_is_mean_and_population_std_of_its_networks(values):
    accuracy = accuracy_of(evaluated(7, values), "last")
    assert accuracy.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert accuracy.std == pytest.approx(np.std(values), rel=1e-9, abs=1e-9)
    assert (accuracy.n, accuracy.values, accuracy.iteration) == (len(values), tuple(values), 7)


EVALUATIONS = [
    evaluated(0, [50, 50], [40, 40]),
    evaluated(10, [80, 60], [65, 65]),
    evaluated(20, [70, 70], [66, 66]),
    evaluated(30, [60, 60], [60, 60]),
    evaluated(20, [99, 99], [99, 99], network="mlp"),
    evaluated(0, [98, 98], [98, 98], subject="random_real"),
]


@pytest.mark.parametrize(
    ("choose", "iteration"), [("last", 30), ("best_on_test", 10), ("validation", 20)]
)
def test_each_choice_takes_its_iterate_of_that_network_alone(choose, iteration):
    """Iterations 10 and 20 have equal means on the test set; the earlier one counts."""
    for order in (EVALUATIONS, EVALUATIONS[::-1]):
        accuracy = chosen_accuracy(order, "convnet", choose)
        assert accuracy.iteration == iteration
        assert accuracy.choose == choose


def test_nothing_is_chosen_where_nothing_was_evaluated():
    assert chosen_accuracy([], "convnet", "last") is None
    assert chosen_accuracy(EVALUATIONS, "lenet", "last") is None
    without_validation = [evaluated(10, [80.0])]
    assert chosen_accuracy(without_validation, "convnet", "validation") is None


@pytest.mark.parametrize(
    ("accuracy", "iteration"), [(50, 0), (50.1, 10), (70, 10), (70.1, None), (99, None)]
)
def test_an_accuracy_is_reached_at_the_first_iteration_whose_mean_is_at_least_that(
    accuracy, iteration
):
    assert iterations_to_reach(EVALUATIONS[::-1], "convnet", accuracy) == iteration


@pytest.mark.parametrize("planned", [0, 30])
def test_the_initial_set_is_a_result_only_without_iterations(planned, digits_facts):
    plan = compile_spec(
        load_spec(MINIMAL, [f"matching.iterations={planned}"]).spec, digits_facts, Machine("cpu", 1)
    )
    iterations = [chosen.iteration for chosen in distilled_sets(plan, EVALUATIONS)]
    assert iterations == ([0, 10, 20, 30, 20] if planned == 0 else [10, 20, 30, 20])


def test_of_several_sets_their_means_are_tested_not_their_networks():
    # Three sets of five networks each, as DC on CIFAR-10 with one image per class.
    means, pooled = (27.17, 27.42, 28.03), measured(27.54, 0.73, 15)
    expected = published(28.3, 0.5, 100)
    by_networks = compare_with_published(expected, pooled)
    by_sets = compare_with_published(expected, pooled, means)
    assert (by_networks.verdict, by_sets.verdict) == ("differs", "agrees")
    assert by_sets.test.startswith("Welch's test of the means of 3 sets:")
    # scipy.stats.ttest_ind_from_stats of the same numbers, with unbiased deviations.
    test = welch_with_published(expected, pooled, means)
    assert test.p == pytest.approx(0.0916, abs=5e-4)
