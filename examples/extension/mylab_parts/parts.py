"""The code of mylab's parts."""

from torch import Tensor, nn


def lp(student: Tensor, target: Tensor, start: Tensor, p: float) -> Tensor:
    """Return the distance to the target, relative to the expert's own distance."""
    return (student - target).abs().pow(p).sum() / (start - target).abs().pow(p).sum()


def moments(network, theta, real, synthetic, label, variance: float) -> Tensor:
    """Return the squared distance of means and variances of the features of one class."""
    there, here = network.features(theta, real), network.features(theta, synthetic)
    means = (there.mean(0) - here.mean(0)).square().sum()
    spread = there.var(0, unbiased=False) - here.var(0, unbiased=False)
    return means + variance * spread.square().sum()


def wide(channels: int, height: int, width: int, classes: int, filters: int) -> nn.Module:
    """Return one convolution under a linear layer."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * filters, classes),
    )
