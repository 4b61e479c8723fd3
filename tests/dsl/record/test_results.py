"""Published numbers are compared by the same test as everything else."""

import pytest
from scipy import stats

from ddspec.dsl.record.record import Accuracy
from ddspec.dsl.record.results import compare_with_published
from ddspec.dsl.record.statistics import REPRODUCTION_LEVEL, TEST_LEVEL, welch
from ddspec.dsl.spec.evaluation import Expectation


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
