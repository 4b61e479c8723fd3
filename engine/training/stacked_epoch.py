"""One epoch of training for a stack of networks of one architecture."""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ddspec.engine.networks.stacked import StackedNetworks
from ddspec.engine.numerics.cuda_graphs import as_cuda_graph
from ddspec.engine.numerics.seeds import to_device
from ddspec.engine.training.augmentation import augment, draw_augmentation
from ddspec.engine.training.epoch import EpochSettings, LabelledImages, shuffled_batches
from ddspec.engine.training.optimisers import OptimiserState
from ddspec.engine.training.soft_labels import half_squared_error


def stacked_gradients(
    stack: StackedNetworks,
    thetas: Float[Tensor, "k p"],
    images: Float[Tensor, "k n c h w"],
    labels: Tensor,
    regression: bool = False,
) -> Float[Tensor, "k p"]:
    """Return the gradient of each network's mean loss on its own batch.

    It is the cross-entropy, or half of the squared error to the targets of a regression.
    """
    thetas = thetas.detach().requires_grad_()
    # (k, n, classes) -> (k n, classes)
    logits, targets = stack(thetas, images).flatten(0, 1), labels.flatten(0, 1)
    if regression:
        total = len(targets) * half_squared_error(logits, targets)
    else:
        total = F.cross_entropy(logits, targets, reduction="none").sum()
    # One backward pass gives all gradients: no loss depends on another network's parameters.
    (gradients,) = torch.autograd.grad(total / images.shape[1], thetas)
    return gradients


StackedGradientFn = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps parameters (k, p), images and labels of k networks to their gradients (k, p)."""


def stacked_gradient_fn(
    stack: StackedNetworks, recorded: bool, regression: bool = False
) -> StackedGradientFn:
    """Return `stacked_gradients` of a stack or, if `recorded`, its CUDA graphs by shape."""

    def tensors(thetas: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor]:
        return (stacked_gradients(stack, thetas, images, labels, regression),)

    gradients = as_cuda_graph(tensors, recorded)
    return lambda thetas, images, labels: gradients(thetas, images, labels)[0]


def train_stacked_epoch(
    gradient_fn: StackedGradientFn,
    start: OptimiserState,
    data: Sequence[LabelledImages],
    settings: EpochSettings,
    generators: Sequence[torch.Generator],
) -> OptimiserState:
    """Train each network on its images once, in its own random order and augmentation.

    Each network draws from its random stream exactly as in `train_epoch`.
    """
    state = start
    orders: Iterable[tuple[Tensor, ...]] = zip(
        *(
            shuffled_batches(len(labelled.images), settings.batch_size, generator)
            for labelled, generator in zip(data, generators, strict=True)
        ),
        strict=True,
    )
    for order_of_each in orders:
        batches, targets = [], []
        for labelled, order, generator in zip(data, order_of_each, generators, strict=True):
            drawn = draw_augmentation(settings.families, len(order), generator)
            indices = to_device(order, labelled.images.device)
            batches.append(augment(labelled.images[indices], drawn))
            targets.append(labelled.labels[indices])
        gradients = gradient_fn(state.value, torch.stack(batches), torch.stack(targets))
        state = settings.optimiser.step(state, gradients)
    return state
