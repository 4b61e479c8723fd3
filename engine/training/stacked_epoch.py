"""One epoch of several networks of one form, trained side by side as a stack."""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.terms import AugmentationFamily
from ddspec.engine.networks.stacked import StackedNetworks
from ddspec.engine.numerics.cuda_graphs import as_cuda_graph
from ddspec.engine.numerics.seeds import to_device
from ddspec.engine.training.augmentation import augment, draw_augmentation
from ddspec.engine.training.epoch import OptimiserState, SgdOptimiser, shuffled_batches


def stacked_gradients(
    stack: StackedNetworks,
    thetas: Float[Tensor, "k p"],
    images: Float[Tensor, "k n c h w"],
    labels: Tensor,
) -> Float[Tensor, "k p"]:
    """The gradient of each network's mean cross-entropy on its own batch."""
    thetas = thetas.detach().requires_grad_()
    logits = stack(thetas, images)
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(0, 1), reduction="none")
    (found,) = torch.autograd.grad(each.sum() / images.shape[1], thetas)
    return found


StackedGradientFn = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The gradients of networks, each on its own batch of images with their labels."""


def stacked_gradient_fn(stack: StackedNetworks, recorded: bool) -> StackedGradientFn:
    """`stacked_gradients` of a stack, as it is or as a recording of the GPU gives it."""
    replay = as_cuda_graph(lambda *tensors: (stacked_gradients(stack, *tensors),), recorded)
    return lambda thetas, images, labels: replay(thetas, images, labels)[0]


def train_stacked_epoch(
    slopes_at: StackedGradientFn,
    start: OptimiserState,
    images: Sequence[Float[Tensor, "n c h w"]],
    labels: Sequence[Int[Tensor, " n"] | Float[Tensor, "n classes"]],
    batch_size: int,
    optimiser: SgdOptimiser,
    families: Sequence[AugmentationFamily],
    generators: Sequence[torch.Generator],
) -> OptimiserState:
    """Every network visits its images once, in its own random order and augmentation.

    Each draws from its stream as `train_epoch` does for one alone.
    """
    at = start
    orders: Iterable[tuple[Tensor, ...]] = zip(
        *(
            shuffled_batches(len(own), batch_size, generator)
            for own, generator in zip(images, generators, strict=True)
        ),
        strict=True,
    )
    for chosen in orders:
        batches, classes = [], []
        for own, truth, order, generator in zip(images, labels, chosen, generators, strict=True):
            drawn = draw_augmentation(families, len(order), generator)
            order = to_device(order, own.device)
            batches.append(augment(own[order], drawn))
            classes.append(truth[order])
        found = slopes_at(at.value, torch.stack(batches), torch.stack(classes))
        at = optimiser.step(at, found)
    return at
