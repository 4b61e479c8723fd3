"""Protocols for evaluation: how fresh networks are trained on a small set and tested.

MTT's protocol (arXiv:2203.11932) is SGD at the learned student_lr with momentum 0.9, weight decay
5e-4 and augmentation. A little after half of the epochs the learning rate drops to a tenth and the
momentum starts again from zero; the network is tested once, at the end. Of E epochs the first
(E - 1) // 2 + 2 run at the full learning rate: 502 of 1001, as in the public code. DC's and DATM's
code train in the same way, with other numbers of epochs and images per step. The public code of AST
(arXiv:2310.10541) and DD-Ranking (arXiv:2505.13300) differ: `ast_protocol`,
`dd_ranking_protocol`. That of RaT-BPTT (arXiv:2311.07025) and FRePo (arXiv:2206.00719) trains by
Adam: `rat_bptt_protocol`, `frepo_protocol`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import torch
from torch import Tensor

from ddspec.dsl.terms import AugmentationFamily, Protocol
from ddspec.engine.training.epoch import EpochSettings, GradientFn, LabelledImages, train_epoch
from ddspec.engine.training.optimisers import (
    AdamOptimiser,
    Optimiser,
    OptimiserState,
    SgdOptimiser,
)
from ddspec.engine.training.stacked_epoch import StackedGradientFn, train_stacked_epoch

MOMENTUM = 0.9
MTT_WEIGHT_DECAY, MTT_DROP = 5e-4, 0.1
AST_WEIGHT_DECAY, AST_DROP, AST_LATE_MOMENTUM, AST_TESTED_EVERY = 1e-3, 0.5, 0.8, 20
DD_RANKING_TESTED_AFTER, DD_RANKING_TESTED_EVERY = 0.8, 10
RAT_BPTT_TESTED_AFTER = (300, 600, 1000, 3000)
FREPO_WARM_UP, FREPO_FINAL = 500, 0.01
ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


@dataclass(frozen=True)
class TrainingSet(LabelledImages):
    """A small set to train on, with its learning rate."""

    student_lr: float


@dataclass(frozen=True)
class MeasuredAccuracy:
    """Accuracies of a network in percent, at one moment of its training."""

    accuracy: float
    """On the test set."""
    validation: float | None
    """On the held-out images, if there are any."""


@dataclass(frozen=True)
class ProtocolEpoch:
    """One epoch of a protocol."""

    optimiser: Optimiser
    resets_momentum: bool = False
    """Whether the momentum starts again from zero before this epoch."""
    tested: bool = False
    """Whether the network is tested after this epoch."""


@dataclass(frozen=True)
class NetworkTraining:
    """A protocol with all that does not depend on the network being trained."""

    epochs: Iterable[ProtocolEpoch]
    batch_size: int
    families: tuple[AugmentationFamily, ...]
    test: Callable[[Tensor], MeasuredAccuracy]
    """Tests a network with these parameters (p,)."""
    before_step: Callable[[float], None] = lambda epochs: None
    """Called before each batch, or before each epoch of a stack, with the epochs that are done; it
    may raise to stop."""

    def before_batch(self, epochs: int, share: float) -> None:
        """Pass on that so many epochs and a share of the next one are done."""
        self.before_step(epochs + share)

    def settings(self, epoch: ProtocolEpoch) -> EpochSettings:
        """Return the settings of one epoch."""
        return EpochSettings(self.batch_size, epoch.optimiser, self.families)


def protocol_epochs(
    protocol: Protocol, epochs: int, lr: float, steps: int = 1
) -> Iterator[ProtocolEpoch]:
    """Yield the epochs of a protocol, of `steps` training steps each."""
    match protocol:
        case "mtt" | "datm" | "dc":
            return mtt_protocol(epochs, lr)
        case "ast":
            return ast_protocol(epochs, lr)
        case "dd_ranking":
            return dd_ranking_protocol(epochs, lr)
        case "rat_bptt":
            return rat_bptt_protocol(epochs, lr)
        case "frepo":
            return frepo_protocol(epochs, lr, steps)
        case _:
            assert_never(protocol)


def epochs_at_full_rate(epochs: int) -> int:
    """Return the epochs before the drop in the code of MTT and AST: E // 2 + 2 of E + 1."""
    return (epochs - 1) // 2 + 2


def mtt_protocol(epochs: int, lr: float) -> Iterator[ProtocolEpoch]:
    """Yield the epochs of MTT's protocol: a tenth of `lr` in the second half, one test."""
    full_rate = epochs_at_full_rate(epochs)
    for epoch in range(epochs):
        rate = lr * (1.0 if epoch < full_rate else MTT_DROP)
        optimiser = SgdOptimiser(rate, MOMENTUM, MTT_WEIGHT_DECAY)
        # The public code makes a new optimiser for the lower learning rate, without momentum.
        yield ProtocolEpoch(
            optimiser, resets_momentum=epoch == full_rate, tested=epoch == epochs - 1
        )


def ast_protocol(epochs: int, lr: float) -> Iterator[ProtocolEpoch]:
    """Yield the epochs of the protocol in AST's public code.

    The second half has half of `lr` and momentum 0.8, and begins without momentum. Tests after
    epochs 1, 21, 41, ..., of which the best counts; the last epoch is among them if the number of
    epochs is 1001, but not if it is 1000.
    """
    full_rate = epochs_at_full_rate(epochs)
    for epoch in range(epochs):
        late = epoch >= full_rate
        rate, momentum = (AST_DROP * lr, AST_LATE_MOMENTUM) if late else (lr, MOMENTUM)
        yield ProtocolEpoch(
            SgdOptimiser(rate, momentum, AST_WEIGHT_DECAY),
            # A new optimiser here, too.
            resets_momentum=epoch == full_rate,
            tested=epoch % AST_TESTED_EVERY == 0,
        )


def dd_ranking_protocol(epochs: int, lr: float) -> Iterator[ProtocolEpoch]:
    """Yield the epochs of DD-Ranking's protocol: a tenth of `lr` from the middle on.

    The momentum is kept at the drop. Tests every 10 epochs after four fifths of them, and after
    the last one, which the public code tests only if the number of epochs is a multiple of 10.
    """
    for epoch in range(epochs):
        rate = lr * (1.0 if epoch < epochs // 2 else MTT_DROP)
        is_late = epoch > DD_RANKING_TESTED_AFTER * epochs
        tested = is_late and (epoch + 1) % DD_RANKING_TESTED_EVERY == 0
        yield ProtocolEpoch(
            SgdOptimiser(rate, MOMENTUM, MTT_WEIGHT_DECAY), tested=tested or epoch == epochs - 1
        )


def rat_bptt_protocol(epochs: int, lr: float) -> Iterator[ProtocolEpoch]:
    """Yield the epochs of RaT-BPTT's protocol: Adam, tested after several numbers of epochs.

    With all images in a batch an epoch is a step, which its public code counts. It reports the best
    mean over networks of these tests; here the best test of each network counts.
    """
    for epoch in range(1, epochs + 1):
        tested = epoch in RAT_BPTT_TESTED_AFTER or epoch == epochs
        yield ProtocolEpoch(AdamOptimiser(lr, **ADAM), tested=tested)


def frepo_protocol(epochs: int, lr: float, steps: int = 1) -> Iterator[ProtocolEpoch]:
    """Yield the epochs of FRePo's protocol: Adam with a warm-up and half a cosine, one test.

    The learning rate rises linearly from zero over 500 steps, or half of the epochs if these have
    fewer than 1000 steps, and falls to a hundredth. The public code changes it after each step;
    here it stays during an epoch, which has `steps` of them, one if all images are in a batch.
    """
    warm_up = min(-(-FREPO_WARM_UP // steps), epochs // 2)
    for epoch in range(epochs):
        if epoch < warm_up:
            share = epoch / warm_up
        else:
            done = (epoch - warm_up) / (epochs - warm_up)
            share = FREPO_FINAL + (1 - FREPO_FINAL) * (1 + math.cos(math.pi * done)) / 2
        yield ProtocolEpoch(AdamOptimiser(lr * share, **ADAM), tested=epoch == epochs - 1)


def train_network(
    training: NetworkTraining,
    gradient_fn: GradientFn,
    theta: Tensor,
    data: TrainingSet,
    generator: torch.Generator,
) -> tuple[Tensor, MeasuredAccuracy]:
    """Train one network from `theta` (p,); return its parameters and the best of its tests."""
    state, accuracies = OptimiserState.without_memory(theta), []
    for number, epoch in enumerate(training.epochs):
        if epoch.resets_momentum:
            state = OptimiserState.without_memory(state.value)
        settings = training.settings(epoch)
        watch = partial(training.before_batch, number)
        result = train_epoch(gradient_fn, state, data, settings, generator, watch)
        state = result.end
        if epoch.tested:
            accuracies.append(training.test(state.value))
    return state.value, best_of(accuracies)


def best_of(tests: Sequence[MeasuredAccuracy]) -> MeasuredAccuracy:
    """Return the test that counts: the best on held-out images; without such images, on test data.

    MTT's protocol has a single test. Those of AST and DD-Ranking have many, and the public code
    chooses among them on test data.
    """

    def rank(test: MeasuredAccuracy) -> float:
        return test.accuracy if test.validation is None else test.validation

    return max(tests, key=rank)


def train_stack(
    training: NetworkTraining,
    gradient_fn: StackedGradientFn,
    thetas: Tensor,
    data: Sequence[TrainingSet],
    generators: Sequence[torch.Generator],
) -> list[tuple[Tensor, MeasuredAccuracy]]:
    """Train networks from `thetas` (k, p) together; as `train_network` does for each alone."""
    state = OptimiserState.without_memory(thetas)
    accuracies: list[list[MeasuredAccuracy]] = [[] for _ in data]
    for number, epoch in enumerate(training.epochs):
        training.before_batch(number, 0.0)
        if epoch.resets_momentum:
            state = OptimiserState.without_memory(state.value)
        state = train_stacked_epoch(gradient_fn, state, data, training.settings(epoch), generators)
        if epoch.tested:
            # Networks that are trained together are still tested one by one.
            for measured, theta in zip(accuracies, state.value, strict=True):
                measured.append(training.test(theta))
    best = [best_of(measured) for measured in accuracies]
    return list(zip(state.value, best, strict=True))
