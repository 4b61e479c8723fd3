"""Distances between the features of real and of synthetic images of a class.

The losses of DM (arXiv:2110.04181), of NCFM's statistic (arXiv:2502.20653), and of CAFE's
discrimination (arXiv:2203.01531).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def class_means(
    features: Float[Tensor, "n ..."], counts: Sequence[int]
) -> Float[Tensor, "classes ..."]:
    """Return the mean of the features of each class; `counts` says how many images each has."""
    return torch.stack([part.mean(0) for part in features.split(list(counts))])


def mean_distances(
    real: Float[Tensor, "classes ..."], synthetic: Float[Tensor, "classes ..."]
) -> Float[Tensor, " classes"]:
    """Return the squared distance of the two means of each class, summed over all features."""
    return (real - synthetic).square().flatten(1).sum(1)


def characteristic_distance(
    real: Float[Tensor, "n d"],
    synthetic: Float[Tensor, "m d"],
    frequencies: Float[Tensor, "k d"],
    amplitude: float,
) -> Float[Tensor, ""]:
    """Return the distance of the characteristic functions of two sets of features.

        mean over frequencies of
        sqrt( a (|r| - |s|)^2 + 2 (1 - a) (|r| |s| - Re r Re s - Im r Im s) )

    with r, s the means of exp(i <t, f>) over the features f of length 1, and a the weight
    `amplitude`. NCFM's public code multiplies the loss by 300 and has a = 1/2.
    """
    (re, im), (other_re, other_im) = (
        characteristic_function(features, frequencies) for features in (real, synthetic)
    )
    length, other = length_of(re, im), length_of(other_re, other_im)
    phases = length * other - re * other_re - im * other_im
    squared = amplitude * (length - other).square() + 2 * (1 - amplitude) * phases
    # Rounding may lead below zero, where two equal functions should give zero.
    return (squared.clamp(min=0) + SMALLEST).sqrt().mean()


SMALLEST = 1e-12
"""Added under square roots, whose slope at zero is infinite."""


def length_of(re: Float[Tensor, " k"], im: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Return the absolute value of complex numbers."""
    return (re.square() + im.square() + SMALLEST).sqrt()


def characteristic_function(
    features: Float[Tensor, "n d"], frequencies: Float[Tensor, "k d"]
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Return real and imaginary part of the characteristic function of normalised features."""
    angles = F.normalize(features, dim=1) @ frequencies.T
    return angles.cos().mean(0), angles.sin().mean(0)


def discrimination(
    real: Float[Tensor, "n d"], means: Float[Tensor, "classes d"], labels: Int[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Return CAFE's discrimination loss: real images are told apart by the synthetic means.

    The cross-entropy, summed over images, of the products of their features with the class means
    of the synthetic images; without a temperature, as in its public code.
    """
    return F.cross_entropy(real @ means.T, labels, reduction="sum")
