"""Gradient descent on flat vectors, and one epoch of training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.terms import AugmentationFamily
from ddspec.engine.augment import augment, draw

Forward = Callable[[Tensor, Tensor], Tensor]
"""Logits from a flat parameter vector and a batch of images."""


@dataclass(frozen=True)
class Descent:
    """Settings of one optimiser, with torch.optim.SGD's meaning."""

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Iterate:
    """Where an optimiser stands: the vector and its velocity (torch's momentum buffer)."""

    value: Tensor
    velocity: Tensor

    @classmethod
    def at_rest(cls, value: Tensor) -> "Iterate":
        """A start without velocity."""
        return cls(value, torch.zeros_like(value))

    def step(self, gradient: Tensor, settings: Descent) -> "Iterate":
        """One step of torch.optim.SGD: velocity <- momentum velocity + g, value -= lr velocity."""
        if settings.weight_decay:
            gradient = gradient + settings.weight_decay * self.value
        velocity = settings.momentum * self.velocity + gradient
        return Iterate(self.value - settings.lr * velocity, velocity)


@dataclass(frozen=True)
class EpochResult:
    """One epoch of training: where it ended, and means over its samples as it went."""

    end: Iterate
    loss: float
    accuracy: float
    """In percent, on the augmented batches before each step."""


def gradient(
    forward: Forward,
    theta: Float[Tensor, " p"],
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
) -> tuple[Float[Tensor, " p"], Float[Tensor, ""], Float[Tensor, "n k"]]:
    """Gradient of the mean cross-entropy by the parameters, with loss and logits."""
    theta = theta.detach().requires_grad_()
    logits = forward(theta, images)
    loss = F.cross_entropy(logits, labels)
    (found,) = torch.autograd.grad(loss, theta)
    return found, loss.detach(), logits.detach()


def train_epoch(
    forward: Forward,
    start: Iterate,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    batch_size: int,
    settings: Descent,
    families: Sequence[AugmentationFamily],
    generator: torch.Generator,
    before_batch: Callable[[], None] = lambda: None,
) -> EpochResult:
    """Visit every image once in random order; the last, smaller batch is used too.

    `before_batch` may raise to leave the epoch.
    """
    state = start
    loss_sum = torch.zeros((), device=images.device)
    correct = torch.zeros((), dtype=torch.long, device=images.device)
    for batch in shuffled(len(images), batch_size, generator):
        before_batch()
        drawn = draw(families, len(batch), generator)
        batch = batch.to(images.device)
        inputs, targets = augment(images[batch], drawn), labels[batch]
        found, loss, logits = gradient(forward, state.value, inputs, targets)
        state = state.step(found, settings)
        loss_sum = loss_sum + loss * len(batch)
        correct = correct + (logits.argmax(1) == targets).sum()
    return EpochResult(state, float(loss_sum) / len(images), 100.0 * int(correct) / len(images))


def shuffled(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """A random order in batches; the last may be smaller."""
    yield from torch.randperm(count, generator=generator).split(batch_size)


@torch.no_grad()
def test(
    forward: Forward,
    theta: Float[Tensor, " p"],
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    batch_size: int = 1000,
) -> float:
    """Share of images classified correctly, in percent."""
    correct = torch.zeros((), dtype=torch.long, device=images.device)
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        correct = correct + (forward(theta, images[part]).argmax(1) == labels[part]).sum()
    return 100.0 * int(correct) / len(images)
