"""Tiny problems with known answers, in float64."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from ddspec.engine.networks import FlatNetwork, flatten, forward_of


@dataclass(frozen=True)
class Problem:
    """A small network in float64, eight images of 4x4 pixels, and their labels."""

    module: nn.Module
    """The network with parameters of its own; `net` and `start` are the same in flat form."""
    net: FlatNetwork
    start: Tensor
    images: Tensor
    labels: Tensor


def small_module() -> nn.Module:
    """A smooth ConvNet block: derivatives of every order exist."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.GroupNorm(3, 3),
        nn.SiLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 3),
    ).double()


@pytest.fixture
def problem() -> Problem:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = small_module()
        start = flatten(list(module.parameters()))
        images = torch.randn(6, 1, 4, 4, dtype=torch.float64)
        skeleton = small_module()
    return Problem(module, forward_of(skeleton), start, images, torch.tensor([0, 0, 1, 1, 2, 2]))
