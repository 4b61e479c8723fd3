"""GSAM, the sharpness-aware gradient with which FTD (arXiv:2211.11004) trains its experts."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor


def adaptive_ascent(
    theta: Float[Tensor, " p"], gradient: Float[Tensor, " p"], rho: float
) -> Float[Tensor, " p"]:
    """Return the adaptive ascent step: rho * theta^2 * g / || |theta| * g ||, elementwise."""
    return rho * theta.square() * gradient / ((theta.abs() * gradient).norm() + 1e-12)


def orthogonal_part(
    gradient: Float[Tensor, " p"], direction: Float[Tensor, " p"]
) -> Float[Tensor, " p"]:
    """Return the part of a gradient that is orthogonal to a direction."""
    return gradient - (gradient @ direction) / (direction @ direction + 1e-12) * direction


def gsam_gradient(
    gradient_at: Callable[[Tensor], Tensor],
    theta: Float[Tensor, " p"],
    clean: Float[Tensor, " p"],
    rho: float,
    alpha: float,
) -> Float[Tensor, " p"]:
    """Return the gradient of GSAM (arXiv:2203.08065) as FTD uses it, on one batch.

        g_p - alpha * (part of the clean gradient orthogonal to g_p)

    where g_p is the gradient after the ascent step from `theta` along the clean gradient.
    """
    uphill = gradient_at(theta + adaptive_ascent(theta, clean, rho))
    return uphill - alpha * orthogonal_part(clean, uphill)
