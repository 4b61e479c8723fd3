"""Labels that are learned: what they begin as, and what networks are taught by them."""

from typing import assert_never

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.spec.synthetic import (
    ExpertLabels,
    Hard,
    Labels,
    LearnedLabels,
    RegressionLabels,
    UnnormalizedLabels,
)

CLASSES_OF_UNIT_SCALE = 10
"""Number of classes for which FRePo's labels are one-hot vectors less their mean."""


def regression_labels(labels: Int[Tensor, " n"], classes: int) -> Float[Tensor, "n k"]:
    """Return FRePo's targets of classes: (one-hot - 1 / k) / sqrt(k / 10) for k classes."""
    centred = F.one_hot(labels, classes).float() - 1 / classes
    return centred / (classes / CLASSES_OF_UNIT_SCALE) ** 0.5


def taught(form: Labels, learned: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Return the labels that networks are taught, differentiable by what is learned of them."""
    match form:
        case LearnedLabels():
            return learned.softmax(1)
        case UnnormalizedLabels() | RegressionLabels():
            return learned
        case Hard() | ExpertLabels():
            raise ValueError(f'"{form.name}" labels are not learned')
        case _:
            assert_never(form)


def within_bounds(form: Labels, learned: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Return learned labels after an update; weights of classes are not negative."""
    return learned.clamp(min=0) if isinstance(form, UnnormalizedLabels) else learned


def half_squared_error(
    outputs: Float[Tensor, "n k"], labels: Float[Tensor, "n k"]
) -> Float[Tensor, ""]:
    """Return half of the squared error, summed over classes, mean over images (FRePo)."""
    return 0.5 * (outputs - labels).square().sum(1).mean()


def label_margin(labels: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Return the mean distance of the largest entry from the second, but at most 1 / k each.

    The term by which FRePo (arXiv:2206.00719) keeps learned labels from coming close to a tie.
    """
    largest = labels.topk(2, dim=1).values
    return (largest[:, 0] - largest[:, 1]).clamp(max=1 / labels.shape[1]).mean()
