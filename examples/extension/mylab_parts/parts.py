"""The code of mylab's parts."""

import numpy as np
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


def stripes(folder):
    """Return grey images of 8x8 pixels; a reader of files would open those in `folder`."""
    random = np.random.default_rng(0)

    def images(count):
        across = np.tile(np.arange(8) % 2 * 200, (8, 1))
        clean = np.stack([across, across.T]).repeat(count, 0)
        noise = random.integers(0, 56, clean.shape)
        return (clean + noise).astype(np.uint8), np.repeat([0, 1], count)

    return {"train": images(40), "test": images(20), "classes": ["across", "down"]}
