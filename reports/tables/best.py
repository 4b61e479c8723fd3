"""The best of several runs, and from which others Welch's test tells it apart."""

from collections.abc import Sequence

from ddspec.dsl.record.record import Accuracy
from ddspec.dsl.record.statistics import TEST_LEVEL, holm, welch
from ddspec.reports.format import NO_BREAK, fixed, significant

Labelled = Sequence[tuple[str, Accuracy]]
"""Accuracies of runs that are judged alike, each with the run's label."""


def best_words(labelled: Labelled) -> str:
    """Return which run has the best mean, and which others do not differ from it."""
    if len(labelled) < 2:
        return ""
    label, best = max(labelled, key=lambda pair: pair[1].mean)
    others = [pair for pair in labelled if pair[1] is not best]
    tests = [welch(best, accuracy) for _, accuracy in others]
    adjusted = iter(holm([test.p for test in tests if test is not None]))
    alike = [
        other
        for (other, _), test in zip(others, tests, strict=True)
        if test is None or next(adjusted) >= TEST_LEVEL
    ]
    head = f"The best mean is that of {label}, {fixed(best.mean)}{NO_BREAK}%"
    if not alike:
        return f"{head}, with a significant difference from every other run."
    if len(alike) == len(others):
        return f"{head}, without a significant difference from any other run."
    return f"{head}, with no significant difference from {'; '.join(alike)}."


def pair_words(first: tuple[str, Accuracy], second: tuple[str, Accuracy]) -> str:
    """Return in a sentence which of two runs is better, and whether a test tells them apart."""
    (low_name, low), (high_name, high) = sorted((first, second), key=lambda pair: pair[1].mean)
    test = welch(high, low)
    if high.mean == low.mean:
        return f"{high_name} and {low_name} have the same mean, {fixed(high.mean, 1)}{NO_BREAK}%."
    verdict = "too few networks to tell them apart"
    if test is not None and test.p < TEST_LEVEL:
        verdict = f"the means differ ({p_words(test.p)})"
    elif test is not None:
        verdict = f"no difference found ({p_words(test.p)})"
    return (
        f"{high_name} is {fixed(high.mean - low.mean, 1)} points above {low_name}, "
        f"{fixed(high.mean, 1)} against {fixed(low.mean, 1)}{NO_BREAK}%: {verdict}."
    )


def p_words(p: float) -> str:
    """Return a p-value in words."""
    return f"p = {significant(p)}" if p >= 1e-4 else "p < 0.0001"
