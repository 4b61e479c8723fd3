"""Scores of a synthetic set beside the accuracy: what it adds to random images, and what it lacks.

All are differences of accuracies under one training, in points, with a 95 % interval by Welch where
both sides have several networks. Two scores combine them as DD-Ranking does (arXiv:2505.13300):
the label-robust one, and the augmentation-robust one.
"""

import math
from dataclasses import dataclass

from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.statistics import welch
from ddspec.dsl.spec.synthetic import Hard

WEIGHT = 0.5
"""Weight of the improvement over random in DD-Ranking's scores.

The rest is that of the recovery, or of the improvement without augmentation."""


@dataclass(frozen=True)
class Difference:
    """A difference of two accuracies in points."""

    points: float
    half: float | None
    """Half of its 95 % interval; None if a side has a single network."""


@dataclass(frozen=True)
class Scores:
    """The scores of one network; None where a baseline that they need was not evaluated."""

    over_random: Difference | None = None
    """Improvement over random real images (IOR), with labels of the same kind."""
    over_random_plain: Difference | None = None
    """The same without augmentation on either side."""
    hard_label_recovery: Difference | None = None
    """Hard-label recovery (HLR): all real images minus the set with hard labels."""
    label_robust: float | None = None
    """DD-Ranking's label-robust score (LRS) in percent."""
    augmentation_robust: float | None = None
    """DD-Ranking's augmentation-robust score (ARS) in percent."""


def scores_of(record: Record, network: str) -> Scores:
    """Return the scores of a run's chosen set on one network."""
    results, own = record.results, record.results.per_network.get(network)
    if own is None:
        return Scores()
    is_hard = has_hard_labels(record)
    random = results.random_real if is_hard else results.random_real_expert_labels
    of_hard_labels = own if is_hard else results.distilled_hard_labels.get(network)
    over_random = difference(own, random.get(network))
    recovery = difference(results.full_data.get(network), of_hard_labels)
    plain = difference(results.distilled_plain.get(network), results.random_real_plain.get(network))
    by_labels = by_augmentation = None
    if over_random is not None and recovery is not None:
        by_labels = label_robust_score(over_random.points, recovery.points)
    if over_random is not None and plain is not None:
        by_augmentation = augmentation_robust_score(over_random.points, plain.points)
    return Scores(over_random, plain, recovery, by_labels, by_augmentation)


def has_hard_labels(record: Record) -> bool:
    """Return whether networks are taught one class per image of the synthetic set."""
    if record.imported_set is not None:
        return record.imported_set.labels == "hard"
    return isinstance(record.plan.distill.synthetic.labels, Hard)


def difference(one: Accuracy | None, other: Accuracy | None) -> Difference | None:
    """Return the difference of two accuracies; None if one is missing."""
    if one is None or other is None:
        return None
    tested = welch(one, other) if min(one.n, other.n) > 1 else None
    return Difference(one.mean - other.mean, None if tested is None else tested.half)


def label_robust_score(
    over_random: float, hard_label_recovery: float, weight: float = WEIGHT
) -> float:
    """Return DD-Ranking's label-robust score in percent, of two differences in points.

    It is the score of weight * IOR - (1 - weight) * HLR.
    """
    return score(weight * over_random - (1 - weight) * hard_label_recovery)


def augmentation_robust_score(
    over_random: float, over_random_plain: float, weight: float = WEIGHT
) -> float:
    """Return DD-Ranking's augmentation-robust score in percent, of two differences in points.

    It is the score of weight * (IOR with augmentation) + (1 - weight) * (IOR without).
    """
    return score(weight * over_random + (1 - weight) * over_random_plain)


def score(points: float) -> float:
    """Return the score in percent of a weighted sum of differences in points.

        (e^x - e^-1) / (e - e^-1)

    x is the sum as a share of 1. The score is 0 for a set as bad as can be, 100 for one that
    gains everything over random images and loses nothing.
    """
    return 100 * (math.exp(points / 100) - math.exp(-1)) / (math.e - math.exp(-1))
