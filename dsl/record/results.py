"""Results of a run: accuracies by every choice, with published numbers beside them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, assert_never

from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import Accuracy, Compared, Evaluated
from ddspec.dsl.record.statistics import TEST_LEVEL, Welch, welch
from ddspec.dsl.spec.evaluation import Expectation
from ddspec.dsl.terms import Choice, NetworkName


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and population standard deviation, the same to the last bit everywhere.

    The built-in sum would not do: from Python 3.12 on it rounds otherwise.
    """
    mean = fmean(values)
    return mean, math.sqrt(fmean((value - mean) ** 2 for value in values))


def accuracy_of(evaluated: Evaluated, choose: Choice | Literal["none"]) -> Accuracy:
    """Return mean and population standard deviation over the networks of one evaluation."""
    mean, std = mean_and_deviation(evaluated.values)
    return Accuracy(
        mean=mean,
        std=std,
        n=len(evaluated.values),
        values=evaluated.values,
        network=evaluated.network,
        choose=choose,
        iteration=evaluated.iteration,
    )


def distilled_sets(plan: Plan, evaluations: Sequence[Evaluated]) -> list[Evaluated]:
    """Return the evaluations of sets after at least one iteration, unless the plan has none.

    The set before the first iteration is the initial set, not a result of distillation.
    """
    planned = plan.distill.matching.iterations
    distilled = [evaluated for evaluated in evaluations if evaluated.subject == "distilled"]
    return [evaluated for evaluated in distilled if evaluated.iteration > 0 or planned == 0]


def chosen_accuracy(
    evaluations: Sequence[Evaluated], network: NetworkName, choose: Choice
) -> Accuracy | None:
    """Return the accuracy of one network at the iterate that `choose` selects, if any."""
    candidates = [
        evaluated
        for evaluated in evaluations
        if evaluated.subject == "distilled" and evaluated.network == network
    ]
    if choose == "validation":
        candidates = [evaluated for evaluated in candidates if evaluated.validation]
    if not candidates:
        return None

    def rank(evaluated: Evaluated) -> tuple[float, int]:
        # Of equal maxima the earliest counts, as with the running maximum of the public code.
        match choose:
            case "last":
                return 0.0, evaluated.iteration
            case "best_on_test":
                return fmean(evaluated.values), -evaluated.iteration
            case "validation":
                return fmean(evaluated.validation), -evaluated.iteration
            case _:
                assert_never(choose)

    return accuracy_of(max(candidates, key=rank), choose)


def iterations_to_reach(
    evaluations: Sequence[Evaluated], network: NetworkName, accuracy: float
) -> int | None:
    """Return the first evaluated iteration with at least that mean accuracy in percent."""
    means = [
        (evaluated.iteration, accuracy_of(evaluated, "none").mean)
        for evaluated in evaluations
        if evaluated.subject == "distilled" and evaluated.network == network
    ]
    return min((iteration for iteration, mean in means if mean >= accuracy), default=None)


def welch_with_published(
    expectation: Expectation, measured: Accuracy, set_means: Sequence[float] = ()
) -> Welch | None:
    """Return Welch's test against a published number; None if too little was published.

    With `set_means`, the mean accuracies of several synthetic sets, these are the sample: networks
    of one set share it, and so are not independent draws of the method.
    """
    if expectation.std is None or expectation.n is None:
        return None
    published = Sample(expectation.accuracy, expectation.std, expectation.n)
    if len(set_means) > 1:
        return welch(Sample(*mean_and_deviation(set_means), len(set_means)), published)
    return welch(measured, published)


def compare_with_published(
    expectation: Expectation, measured: Accuracy, set_means: Sequence[float] = ()
) -> Compared:
    """Compare a measured accuracy with a published one, by Welch's test at TEST_LEVEL.

    Standard deviations of the field are population values over n networks. Without std and n of
    the published number, or with a single network or no spread at all, nothing can be decided.
    A source that averages over several sets is only held against several: `measured` then has all
    their networks, and `set_means` the mean of each set, which are what is tested.
    """
    verdict: Literal["agrees", "differs", "not decidable"] = "not decidable"
    words = "a test needs std and n >= 2 on both sides"
    several = len(set_means) > 1
    if expectation.over == "sweep" and not several:
        words = "the source averages over several synthetic sets: the page of the sweep compares"
    elif (test := welch_with_published(expectation, measured, set_means)) is not None:
        verdict = "differs" if test.differs() else "agrees"
        sample = f" of the means of {len(set_means)} sets" if several else ""
        words = (
            f"Welch's test{sample}: difference {test.difference:+.2f} +- {test.half:.2f} (95 %), "
            f"p = {test.p:.3g}; level {TEST_LEVEL}"
        )
    return Compared(
        expectation=expectation,
        measured=measured,
        difference=measured.mean - expectation.accuracy,
        verdict=verdict,
        test=words,
    )


@dataclass(frozen=True)
class Sample:
    """Mean, standard deviation and size of a sample of accuracies."""

    mean: float
    std: float
    n: int
