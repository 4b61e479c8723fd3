"""When two accuracies differ: intervals and tests over fresh networks.

Comparisons, expectations and reproductions all decide by this module. Accuracies are in percent,
and their std is the population's, as in the field.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95
"""Confidence level of every interval."""

TEST_LEVEL = 0.05
"""Two means differ if Welch's test gives a smaller p; it matches the intervals."""

REPRODUCTION_LEVEL = 0.01
"""A reproduction fails below this p.

It is smaller because a reproduction makes many tests, some of which would fail by chance at 5 %."""


ROUNDING = 1e-12
"""Difference, relative or absolute, of numbers that were computed alike.

Another version of Python or NumPy, or another processor, may round a sum otherwise."""


def equal_to_rounding(first: float, other: float) -> bool:
    """Return whether two numbers differ by rounding at most; NaN equals NaN."""
    if math.isnan(first) or math.isnan(other):
        return math.isnan(first) and math.isnan(other)
    return math.isclose(first, other, rel_tol=ROUNDING, abs_tol=ROUNDING)


class Sample(Protocol):
    """The mean of n networks with its standard deviation."""

    @property
    def mean(self) -> float:
        """Mean accuracy in percent."""

    @property
    def std(self) -> float:
        """Population standard deviation over the networks."""

    @property
    def n(self) -> int:
        """Number of networks."""


def half_interval(sample: Sample) -> float | None:
    """Return half of the 95 % confidence interval of the mean; None for a single network.

        t(n - 1) * std / sqrt(n - 1)

    The population's std over sqrt(n - 1) equals the sample's std over sqrt(n).
    """
    if sample.n < 2:
        return None
    return quantile(sample.n - 1) * standard_error(sample)


def standard_error(sample: Sample) -> float:
    """Return the standard error of the mean of two networks or more."""
    return sample.std / math.sqrt(sample.n - 1)


def quantile(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


@dataclass(frozen=True)
class Welch:
    """Welch's test that two means are equal (B. L. Welch, Biometrika 34, 1947)."""

    difference: float
    half: float
    """Half of the 95 % interval of the difference."""
    p: float
    """Two-sided."""

    def differs(self, level: float = TEST_LEVEL) -> bool:
        """Return whether the means differ at that level."""
        return self.p < level


def welch(first: Sample, second: Sample) -> Welch | None:
    """Test `first` minus `second`; None if a side has one network or neither has any spread."""
    if first.n < 2 or second.n < 2:
        return None
    squares = standard_error(first) ** 2, standard_error(second) ** 2
    error = math.sqrt(math.fsum(squares))
    if error == 0:
        return None
    # Degrees of freedom by Welch and Satterthwaite.
    terms = squares[0] ** 2 / (first.n - 1) + squares[1] ** 2 / (second.n - 1)
    freedom = math.fsum(squares) ** 2 / terms
    difference = first.mean - second.mean
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Welch(difference, quantile(freedom) * error, p)


def holm(ps: Sequence[float]) -> list[float]:
    """Return Holm-adjusted p-values for several comparisons (Scand. J. Statist. 6, 1979)."""
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted
