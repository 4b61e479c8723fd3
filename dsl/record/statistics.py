"""Intervals and tests over fresh networks.

Accuracies are in percent, their std is the population's, as in the field.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

from ddspec.dsl.record.record import Accuracy

LEVEL = 0.95


def half_interval(accuracy: Accuracy) -> float | None:
    """Half of the 95 % confidence interval of the mean; None for a single network.

        t(n - 1) * std / sqrt(n - 1)

    The population's std over sqrt(n - 1) is the sample's over sqrt(n).
    """
    if accuracy.n < 2:
        return None
    return quantile(accuracy.n - 1) * standard_error(accuracy)


def standard_error(accuracy: Accuracy) -> float:
    """Of the mean of two networks or more."""
    return accuracy.std / math.sqrt(accuracy.n - 1)


def quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's t."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


@dataclass(frozen=True)
class Welch:
    """Welch's test that two means are equal (B. L. Welch, Biometrika 34, 1947)."""

    difference: float
    half: float
    """Half of the 95 % interval of the difference."""
    p: float
    """Two-sided."""


def welch(one: Accuracy, other: Accuracy) -> Welch | None:
    """`one` minus `other`; None where a side has a single network or neither has any spread."""
    if one.n < 2 or other.n < 2:
        return None
    squares = standard_error(one) ** 2, standard_error(other) ** 2
    error = math.sqrt(sum(squares))
    if error == 0:
        return None
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / (one.n - 1) + squares[1] ** 2 / (other.n - 1))
    difference = one.mean - other.mean
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Welch(difference, quantile(freedom) * error, p)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted for that there are several (S. Holm, Scand. J. Statist. 6, 1979)."""
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted
