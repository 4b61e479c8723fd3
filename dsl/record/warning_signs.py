"""Signs that a run failed although it ended as planned.

Normalisation layers make images of any scale look healthy to a network, so guards against numbers
that are not finite notice none of this. The signs are read from what the record holds anyway.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import Results, WarningSign
from ddspec.dsl.record.series import Guarded, Series
from ddspec.dsl.record.synthetic_set import SetExtremes
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching

LARGEST_PIXEL = 30.0
"""Pixels beyond this are said to have exploded; in standard deviations of the real images."""

SATURATED = 0.999
"""Learned labels whose largest probability is above this on every image are hard labels."""

STANDING_STILL = 1.0
"""Trajectory matching loss of a student that did not move."""

VANISHED = 1e-6
"""Share of its first size at which the gradient by the images is said to have vanished."""

EDGE_SHARE = 10
"""First and last iterations are a tenth of all."""


def warning_signs(
    plan: Plan, results: Results, series: Series, extremes: SetExtremes | None
) -> tuple[WarningSign, ...]:
    """Return the signs that a run failed, the plainest first.

    The accuracy and the loss of a preview say nothing, so they are not judged.
    """
    signs: list[WarningSign] = []
    if not plan.preview:
        signs += accuracy_signs(plan.dataset.facts, results)
    if extremes is not None:
        signs += set_signs(extremes)
    if not plan.preview:
        signs += loop_signs(plan, series)
    return tuple(signs)


def accuracy_signs(facts: DatasetFacts, results: Results) -> Iterator[WarningSign]:
    """Yield a sign if the result is at chance, and one if it is below random real images."""
    accuracy = results.accuracy
    if accuracy is None:
        return
    chance, margin = chance_accuracy(facts)
    if chance < 100 and accuracy.mean <= chance + margin:
        yield WarningSign(
            kind="at_chance",
            text=f"The result, {accuracy.mean:.1f} %, is at chance: predicting one class gives "
            f"{chance:.1f} %. The networks learned nothing from this set.",
        )
    baseline = results.random_real.get(accuracy.network)
    if baseline is not None and accuracy.mean < baseline.mean:
        yield WarningSign(
            kind="below_random_real",
            text=f"The result, {accuracy.mean:.1f} %, is below the {baseline.mean:.1f} % of as "
            "many random real images.",
        )


def chance_accuracy(facts: DatasetFacts) -> tuple[float, float]:
    """Return the accuracy in percent of predicting the largest class, and its margin.

    The margin is two standard errors of an accuracy on that many test images.
    """
    count = facts.test_count
    share = max(facts.test_per_class) / count if count else 1 / facts.classes
    error = math.sqrt(share * (1 - share) / count) if count else 0.0
    return 100 * share, 100 * 2 * error


def set_signs(extremes: SetExtremes) -> Iterator[WarningSign]:
    """Yield a sign if pixels exploded, and one if learned labels became hard ones."""
    largest = max(abs(extremes.lowest_pixel), abs(extremes.highest_pixel))
    if largest > LARGEST_PIXEL:
        yield WarningSign(
            kind="exploded_pixels",
            text=f"Pixels of the set reach {largest:.3g} standard deviations of the real images, "
            "which stay within a few. Lower synthetic.images.lr, or set matching.gradient_limit.",
        )
    certain = extremes.least_certain_label
    if certain is not None and certain > SATURATED:
        yield WarningSign(
            kind="saturated_labels",
            text=f"Every learned label gives one class more than {SATURATED:.1%}: learning has "
            "made them hard labels. Lower synthetic.labels.lr.",
        )


def loop_signs(plan: Plan, series: Series) -> Iterator[WarningSign]:
    """Yield a sign if the loss ends where it teaches nothing, and one if the gradient vanished."""
    matching = plan.distill.matching
    ends = last_values(series.matching_loss)
    if ends and isinstance(matching, TrajectoryMatching) and fmean(ends) >= STANDING_STILL:
        yield WarningSign(
            kind="loss_of_standing_still",
            text=f"The matching loss of the last iterations averages {fmean(ends):.3g}. At 1 or "
            "above, a student that trains on the set comes no nearer to its target.",
        )
    applied = [
        norm
        for norm, guarded in zip(series.gradient_norm, series.guarded, strict=True)
        if guarded != Guarded.SKIPPED
    ]
    first, last = fmean(first_values(applied) or [0.0]), fmean(last_values(applied) or [0.0])
    if last < VANISHED * first:
        yield WarningSign(
            kind="vanished_gradient",
            text=f"The gradient by the images fell from {first:.2g} to {last:.2g}: the set has "
            "stopped changing. Lower synthetic.images.lr.",
        )


def first_values(values: Sequence[float]) -> Sequence[float]:
    """Return the first tenth of a series, at least one value."""
    return values[: max(1, len(values) // EDGE_SHARE)]


def last_values(values: Sequence[float]) -> Sequence[float]:
    """Return the last tenth of a series, at least one value."""
    return values[-max(1, len(values) // EDGE_SHARE) :]
