"""Ridge regression on features: predictions for real images, differentiable by the synthetic set.

The regression of FRePo (arXiv:2206.00719) on the conjugate kernel of a finite network, that is the
inner products of its features.
"""

import torch
from jaxtyping import Float
from torch import Tensor

WIDE_BELOW = 2000
"""Images up to which the kernel is factorised in float64, which costs little then."""


def ridge_predictions(
    real: Float[Tensor, "m f"],
    synthetic: Float[Tensor, "n f"],
    labels: Float[Tensor, "n k"],
    ridge: float,
) -> Float[Tensor, "m k"]:
    """Return what a ridge regression on the synthetic features predicts for the real ones.

        K_ts (K_ss + ridge * trace(K_ss) / n * I)^-1 Y

    with K the inner products of features, t the real and s the synthetic images. The result is NaN
    if the regularised kernel is not positive definite.
    """
    kind = labels.dtype
    if len(synthetic) <= WIDE_BELOW:
        # The kernel of similar images is close to singular: float32 would lose its inverse.
        real, synthetic, labels = real.double(), synthetic.double(), labels.double()
    kernel = synthetic @ synthetic.T
    scale = ridge * kernel.diagonal().mean()
    regularised = kernel + scale * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
    factor, failed = torch.linalg.cholesky_ex(regularised)
    factor = torch.where(failed == 0, factor, torch.nan)
    weights = torch.cholesky_solve(labels, factor)
    return (real @ (synthetic.T @ weights)).to(kind)
