"""How a fresh network is trained on a small set and tested: the field's protocols.

MTT's (arXiv:2203.11932): SGD at the learned student_lr, momentum 0.9, weight decay 5e-4,
augmented; after a little more than half of the epochs the rate drops to a tenth and the momentum
begins anew; one test at the end. Of E epochs the first (E - 1) // 2 + 2 run at the full rate: 502
of 1001, as in the public code. The public code of AST (arXiv:2310.10541) does otherwise:
`ast_protocol`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddspec.dsl.terms import AugmentationFamily
from ddspec.engine.training.epoch import GradientFn, OptimiserState, SgdOptimiser, train_epoch
from ddspec.engine.training.stacked_epoch import StackedGradientFn, train_stacked_epoch

MOMENTUM = 0.9
MTT_WEIGHT_DECAY, MTT_DROP = 5e-4, 0.1
AST_WEIGHT_DECAY, AST_DROP, AST_LATE_MOMENTUM, AST_TESTED_EVERY = 1e-3, 0.5, 0.8, 20


@dataclass(frozen=True)
class TrainingSet:
    """A small set to train on, and at which rate."""

    images: Tensor
    labels: Tensor
    """Classes (n,), or probabilities (n, classes)."""
    student_lr: float


@dataclass(frozen=True)
class MeasuredAccuracy:
    """Accuracies in percent at one moment of training."""

    accuracy: float
    """On the test set."""
    validation: float | None
    """On the images that are held out, where there are any."""


@dataclass(frozen=True)
class ProtocolEpoch:
    """What a protocol does in one epoch."""

    optimiser: SgdOptimiser
    begins_anew: bool = False
    """Whether the optimiser forgets its memory before it."""
    tested: bool = False
    """Whether the network is tested after it."""


def mtt_protocol(epochs: int, lr: float) -> Iterator[ProtocolEpoch]:
    """MTT's protocol: a tenth of the rate in the second half, one test at the end."""
    full_rate = (epochs - 1) // 2 + 2
    for epoch in range(epochs):
        rate = lr * (1.0 if epoch < full_rate else MTT_DROP)
        optimiser = SgdOptimiser(rate, MOMENTUM, MTT_WEIGHT_DECAY)
        yield ProtocolEpoch(optimiser, begins_anew=epoch == full_rate, tested=epoch == epochs - 1)


def ast_protocol(epochs: int, lr: float) -> Iterator[ProtocolEpoch]:
    """The protocol of AST's public code: half the rate and momentum 0.8 in the second half.

    It tests every 20 epochs and at the end, and takes the best of these tests.
    """
    for epoch in range(epochs):
        first = epoch < epochs // 2
        rate, momentum = (lr, MOMENTUM) if first else (AST_DROP * lr, AST_LATE_MOMENTUM)
        tested = (epoch + 1) % AST_TESTED_EVERY == 0 or epoch == epochs - 1
        yield ProtocolEpoch(SgdOptimiser(rate, momentum, AST_WEIGHT_DECAY), tested=tested)


def train_network(
    recipe: Iterable[ProtocolEpoch],
    theta: Tensor,
    training: TrainingSet,
    slope: GradientFn,
    batch_size: int,
    families: tuple[AugmentationFamily, ...],
    generator: torch.Generator,
    tests: Callable[[Tensor], MeasuredAccuracy],
    before_batch: Callable[[], None],
) -> tuple[Tensor, MeasuredAccuracy]:
    """A network trained by a protocol, and the best of its tests."""
    at, found = OptimiserState.without_memory(theta), []
    for epoch in recipe:
        if epoch.begins_anew:
            at = OptimiserState.without_memory(at.value)
        at = train_epoch(
            slope,
            at,
            training.images,
            training.labels,
            batch_size,
            epoch.optimiser,
            families,
            generator,
            before_batch,
        ).end
        if epoch.tested:
            found.append(tests(at.value))
    return at.value, max(found, key=lambda tested: tested.accuracy)


def train_stack(
    recipe: Iterable[ProtocolEpoch],
    thetas: Tensor,
    training: Sequence[TrainingSet],
    slopes: StackedGradientFn,
    batch_size: int,
    families: tuple[AugmentationFamily, ...],
    generators: Sequence[torch.Generator],
    tests: Callable[[Tensor], MeasuredAccuracy],
    before_epoch: Callable[[], None],
) -> list[tuple[Tensor, MeasuredAccuracy]]:
    """Networks trained by a protocol side by side, each with the best of its tests."""
    at = OptimiserState.without_memory(thetas)
    found: list[list[MeasuredAccuracy]] = [[] for _ in training]
    for epoch in recipe:
        before_epoch()
        if epoch.begins_anew:
            at = OptimiserState.without_memory(at.value)
        at = train_stacked_epoch(
            slopes,
            at,
            [own.images for own in training],
            [own.labels for own in training],
            batch_size,
            epoch.optimiser,
            families,
            generators,
        )
        if epoch.tested:
            for tested, theta in zip(found, at.value, strict=True):
                tested.append(tests(theta))
    best = [max(tested, key=lambda scored: scored.accuracy) for tested in found]
    return list(zip(at.value, best, strict=True))
