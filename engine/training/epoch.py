"""One epoch of training: gradients of a loss on batches, in random order."""

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
from ddspec.engine.training.optimisers import Optimiser, OptimiserState


@dataclass(frozen=True)
class LabelledImages:
    """Images to train on, with their labels."""

    images: Float[Tensor, "n c h w"]
    labels: Tensor
    """Classes (n,), or probabilities (n, classes)."""


@dataclass(frozen=True)
class EpochSettings:
    """How one epoch of training is run."""

    batch_size: int
    optimiser: Optimiser
    families: Sequence[AugmentationFamily] = ()
    """Families of augmentation, of which each batch draws one; none: no augmentation."""


@dataclass(frozen=True)
class TrainingBatch:
    """The images and labels of one training step."""

    images: Float[Tensor, "n c h w"]
    """The images as the network sees them: augmented."""
    clean: Float[Tensor, "n c h w"]
    """The same images before augmentation."""
    labels: Tensor
    """Classes (n,), or probabilities (n, classes)."""


@dataclass(frozen=True)
class LossGradient:
    """A gradient by the parameters, with the loss and the logits at those parameters."""

    gradient: Float[Tensor, " p"]
    loss: Float[Tensor, ""]
    logits: Float[Tensor, "n k"]


GradientFn = Callable[[Tensor, TrainingBatch], LossGradient]
"""Maps parameters and a batch to the gradient that an optimiser steps against."""


MeanLoss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (n, k) and labels to the mean loss of the batch."""


def cross_entropy_gradient(forward: Forward) -> GradientFn:
    """Return the gradient function of the mean cross-entropy."""
    return loss_gradient(forward, F.cross_entropy)


def loss_gradient(forward: Forward, mean_loss: MeanLoss) -> GradientFn:
    """Return the gradient function of a mean loss."""

    def gradient_at(theta: Tensor, batch: TrainingBatch) -> LossGradient:
        theta = theta.detach().requires_grad_()
        logits = forward(theta, batch.images)
        loss = mean_loss(logits, batch.labels)
        (gradient,) = torch.autograd.grad(loss, theta)
        return LossGradient(gradient, loss.detach(), logits.detach())

    return gradient_at


def recorded_gradient(gradient_fn: GradientFn, recorded: bool) -> GradientFn:
    """Return the same gradient function or, if `recorded`, its CUDA graphs by shape."""
    if not recorded:
        return gradient_fn

    # A recording replays on fixed memory, so only tensors may pass in and out of it.
    def tensors(theta: Tensor, images: Tensor, clean: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        result = gradient_fn(theta, TrainingBatch(images, clean, labels))
        return result.gradient, result.loss, result.logits

    replay = as_cuda_graph(tensors, recorded)
    return lambda theta, batch: LossGradient(
        *replay(theta, batch.images, batch.clean, batch.labels)
    )


@dataclass(frozen=True)
class EpochResult:
    """The end of one epoch of training, and means over the samples that it saw."""

    end: OptimiserState
    loss: float
    accuracy: float
    """Training accuracy in percent, on the augmented batches before each step."""


def train_epoch(
    gradient_fn: GradientFn,
    start: OptimiserState,
    data: LabelledImages,
    settings: EpochSettings,
    generator: torch.Generator,
    before_batch: Callable[[float], None] = lambda share: None,
    among: Int[Tensor, " shown"] | None = None,
) -> EpochResult:
    """Train on every image once in random order; the last, smaller batch is used too.

    Only the images with the indices `among` are used, unless that is None.
    `before_batch` is called before each batch with the share of the images that is done, and may
    raise to leave the epoch.
    """
    images, labels, state = data.images, data.labels, start
    classes = labels if labels.dim() == 1 else labels.argmax(1)
    loss_sum = torch.zeros((), device=images.device)
    correct = torch.zeros((), dtype=torch.long, device=images.device)
    seen, count = 0, len(images) if among is None else len(among)
    # Sums stay on the device until the end: reading one would make the host wait each step.
    for places in shuffled_batches(count, settings.batch_size, generator):
        chosen = places if among is None else among[places]
        before_batch(seen / count)
        seen += len(chosen)
        drawn = draw_augmentation(settings.families, len(chosen), generator)
        chosen = to_device(chosen, images.device)
        clean = images[chosen]
        result = gradient_fn(
            state.value, TrainingBatch(augment(clean, drawn), clean, labels[chosen])
        )
        # Out of place: the state before the step stays valid, for instance as a snapshot.
        state = settings.optimiser.step(state, result.gradient)
        # `loss` is a mean over the batch; the last batch may be smaller.
        loss_sum = loss_sum + result.loss * len(chosen)
        correct = correct + (result.logits.argmax(1) == classes[chosen]).sum()
    return EpochResult(state, float(loss_sum) / count, 100.0 * int(correct) / count)


def shuffled_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield a random order of `count` indices in batches; the last may be smaller."""
    # Drawn on the CPU, so that all devices see the same order.
    yield from torch.randperm(count, generator=generator).split(batch_size)


@torch.no_grad()
def forward_in_batches(
    forward: Forward,
    theta: Float[Tensor, " p"],
    images: Float[Tensor, "n c h w"],
    batch_size: int = 1000,
) -> Float[Tensor, "n k"]:
    """Return the logits, or features, of many images, computed in batches."""
    return torch.cat([forward(theta, part) for part in images.split(batch_size)])


def measure_accuracy(
    forward: Forward,
    theta: Float[Tensor, " p"],
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
) -> float:
    """Return the share of images that are classified correctly, in percent."""
    correct = forward_in_batches(forward, theta, images).argmax(1) == labels
    return 100.0 * int(correct.sum()) / len(images)
