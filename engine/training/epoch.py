"""Gradient descent on flat vectors, and one epoch of training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.terms import AugmentationFamily
from ddspec.engine.networks.flat_network import Forward
from ddspec.engine.numerics.cuda_graphs import as_cuda_graph
from ddspec.engine.numerics.seeds import to_device
from ddspec.engine.training.augmentation import augment, draw_augmentation


@dataclass(frozen=True)
class OptimiserState:
    """Where an optimiser stands: the vector, and what the optimiser remembers."""

    value: Tensor
    velocity: Tensor
    """torch's momentum buffer, or Adam's running mean of gradients."""
    second: Tensor | None = None
    """Adam's running mean of squared gradients."""
    steps: int = 0
    """Steps that Adam has counted."""

    @classmethod
    def without_memory(cls, value: Tensor) -> "OptimiserState":
        """A start without memory."""
        return cls(value, torch.zeros_like(value))


@dataclass(frozen=True)
class SgdOptimiser:
    """Settings of gradient descent, with torch.optim.SGD's meaning."""

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def step(self, at: OptimiserState, gradient: Tensor) -> OptimiserState:
        """velocity <- momentum velocity + g; value -= lr velocity."""
        if self.weight_decay:
            gradient = gradient + self.weight_decay * at.value
        velocity = self.momentum * at.velocity + gradient
        return OptimiserState(at.value - self.lr * velocity, velocity)


@dataclass(frozen=True)
class AdamOptimiser:
    """Settings of Adam (arXiv:1412.6980), with torch.optim.Adam's meaning."""

    lr: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float

    def step(self, at: OptimiserState, gradient: Tensor) -> OptimiserState:
        """value -= lr * mean / (sqrt(mean square) + epsilon), both corrected for their start."""
        if self.weight_decay:
            gradient = gradient + self.weight_decay * at.value
        before = torch.zeros_like(at.value) if at.second is None else at.second
        mean = self.beta1 * at.velocity + (1 - self.beta1) * gradient
        second = self.beta2 * before + (1 - self.beta2) * gradient.square()
        steps = at.steps + 1
        scale = (second / (1 - self.beta2**steps)).sqrt() + self.epsilon
        step = self.lr / (1 - self.beta1**steps) * mean / scale
        return OptimiserState(at.value - step, mean, second, steps)


Optimiser = SgdOptimiser | AdamOptimiser


@dataclass(frozen=True)
class TrainingBatch:
    """What a network is trained on in one step."""

    images: Float[Tensor, "n c h w"]
    """As the network sees them: augmented."""
    clean: Float[Tensor, "n c h w"]
    """Before augmentation."""
    labels: Tensor
    """Classes (n,), or probabilities (n, classes)."""


@dataclass(frozen=True)
class LossGradient:
    """A gradient by the parameters, with the cross-entropy and the logits that were met."""

    gradient: Float[Tensor, " p"]
    loss: Float[Tensor, ""]
    logits: Float[Tensor, "n k"]


GradientFn = Callable[[Tensor, TrainingBatch], LossGradient]
"""The direction that training goes against, at some parameters, on a batch."""


def cross_entropy_gradient(forward: Forward) -> GradientFn:
    """The plain one: of the mean cross-entropy."""

    def slope(theta: Tensor, batch: TrainingBatch) -> LossGradient:
        theta = theta.detach().requires_grad_()
        logits = forward(theta, batch.images)
        loss = F.cross_entropy(logits, batch.labels)
        (found,) = torch.autograd.grad(loss, theta)
        return LossGradient(found, loss.detach(), logits.detach())

    return slope


def recorded_gradient(slope_of: GradientFn, recorded: bool) -> GradientFn:
    """The same slope, or as a recording of the GPU gives it."""
    if not recorded:
        return slope_of

    def tensors(theta: Tensor, images: Tensor, clean: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        found = slope_of(theta, TrainingBatch(images, clean, labels))
        return found.gradient, found.loss, found.logits

    replay = as_cuda_graph(tensors, recorded)
    return lambda theta, batch: LossGradient(
        *replay(theta, batch.images, batch.clean, batch.labels)
    )


@dataclass(frozen=True)
class EpochResult:
    """One epoch of training: where it ended, and means over its samples as it went."""

    end: OptimiserState
    loss: float
    accuracy: float
    """In percent, on the augmented batches before each step."""


def train_epoch(
    slope_of: GradientFn,
    start: OptimiserState,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"] | Float[Tensor, "n k"],
    batch_size: int,
    optimiser: Optimiser,
    families: Sequence[AugmentationFamily],
    generator: torch.Generator,
    before_batch: Callable[[], None] = lambda: None,
) -> EpochResult:
    """Visit every image once in random order; the last, smaller batch is used too.

    `before_batch` may raise to leave the epoch.
    """
    state = start
    classes = labels if labels.dim() == 1 else labels.argmax(1)
    loss_sum = torch.zeros((), device=images.device)
    correct = torch.zeros((), dtype=torch.long, device=images.device)
    for chosen in shuffled_batches(len(images), batch_size, generator):
        before_batch()
        drawn = draw_augmentation(families, len(chosen), generator)
        chosen = to_device(chosen, images.device)
        clean = images[chosen]
        found = slope_of(state.value, TrainingBatch(augment(clean, drawn), clean, labels[chosen]))
        state = optimiser.step(state, found.gradient)
        loss_sum = loss_sum + found.loss * len(chosen)
        correct = correct + (found.logits.argmax(1) == classes[chosen]).sum()
    return EpochResult(state, float(loss_sum) / len(images), 100.0 * int(correct) / len(images))


def shuffled_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """A random order in batches; the last may be smaller."""
    yield from torch.randperm(count, generator=generator).split(batch_size)


@torch.no_grad()
def forward_in_batches(
    forward: Forward,
    theta: Float[Tensor, " p"],
    images: Float[Tensor, "n c h w"],
    batch_size: int = 1000,
) -> Float[Tensor, "n k"]:
    """What a network gives for many images."""
    return torch.cat([forward(theta, part) for part in images.split(batch_size)])


def measure_accuracy(
    forward: Forward,
    theta: Float[Tensor, " p"],
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
) -> float:
    """Share of images classified correctly, in percent."""
    correct = forward_in_batches(forward, theta, images).argmax(1) == labels
    return 100.0 * int(correct.sum()) / len(images)
