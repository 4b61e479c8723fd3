"""Several networks of one form trained together, each on its own batches.

Small batches of small networks cost calls, not arithmetic; one call for all of them costs as much
as for one. The networks stand beside one another as groups of channels. In a stack of one size,
what a network computes does not depend on the others.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.facts.network_sizes import extra_padding
from ddspec.dsl.spec.experiment import ConvNet
from ddspec.dsl.terms import AugmentationFamily
from ddspec.engine.networks.flat_network import FlatNetwork, activation, pooling, products_in
from ddspec.engine.networks.layers import EPSILON
from ddspec.engine.numerics.cuda_graphs import replayed
from ddspec.engine.numerics.seeds import sent
from ddspec.engine.training.augmentation import augment, draw
from ddspec.engine.training.epoch import SgdOptimiser, Iterate, shuffled


@dataclass(frozen=True)
class Stack:
    """ConvNets of one form: `stack(thetas, images)` gives the logits of each for its own images."""

    net: FlatNetwork
    form: ConvNet

    def __call__(
        self, thetas: Float[Tensor, "k p"], images: Float[Tensor, "k n c h w"]
    ) -> Float[Tensor, "k n classes"]:
        """Logits of every network for its images."""
        with products_in(self.net.precision, images.device):
            return self.logits(thetas, images).to(images.dtype)

    def logits(
        self, thetas: Float[Tensor, "k p"], images: Float[Tensor, "k n c h w"]
    ) -> Float[Tensor, "k n classes"]:
        """The layers one after another."""
        count = len(thetas)
        parts = iter(zip(thetas.split(list(self.net.sizes), dim=1), self.net.shapes, strict=True))

        def beside() -> Tensor:
            """The next parameter tensor of all networks, one after another along its first axis."""
            values, shape = next(parts)
            return values.reshape(count * shape[0], *shape[1:])

        maps = images.transpose(0, 1).flatten(1, 2)
        padding = 1 + extra_padding(*images.shape[2:])
        for _ in range(self.form.depth):
            maps = F.conv2d(maps, beside(), beside(), padding=padding, groups=count)
            padding = 1
            if self.form.norm == "instance":
                maps = maps.to(images.dtype)
                maps = F.group_norm(maps, maps.shape[1], beside(), beside(), EPSILON)
            for layer in (activation(self.form.activation), *pooling(self.form.pooling)):
                maps = layer(maps)
        features = maps.view(len(maps), count, -1).transpose(0, 1)
        (weights, shape), (biases, _) = parts
        return torch.baddbmm(biases[:, None], features, weights.view(count, *shape).transpose(1, 2))


def slopes(
    stack: Stack,
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


SlopesOf = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The gradients of networks, each on its own batch of images with their labels."""


def slopes_of(stack: Stack, recorded: bool) -> SlopesOf:
    """`slopes` of a stack, as it is or as a recording of the GPU gives it."""
    replay = replayed(lambda *tensors: (slopes(stack, *tensors),), recorded)
    return lambda thetas, images, labels: replay(thetas, images, labels)[0]


def train_epoch_together(
    slopes_at: SlopesOf,
    start: Iterate,
    images: Sequence[Float[Tensor, "n c h w"]],
    labels: Sequence[Int[Tensor, " n"] | Float[Tensor, "n classes"]],
    batch_size: int,
    optimiser: SgdOptimiser,
    families: Sequence[AugmentationFamily],
    generators: Sequence[torch.Generator],
) -> Iterate:
    """Every network visits its images once, in its own random order and augmentation.

    Each draws from its stream as `train_epoch` does for one alone.
    """
    at = start
    orders: Iterable[tuple[Tensor, ...]] = zip(
        *(
            shuffled(len(own), batch_size, generator)
            for own, generator in zip(images, generators, strict=True)
        ),
        strict=True,
    )
    for chosen in orders:
        batches, classes = [], []
        for own, truth, order, generator in zip(images, labels, chosen, generators, strict=True):
            drawn = draw(families, len(order), generator)
            order = sent(order, own.device)
            batches.append(augment(own[order], drawn))
            classes.append(truth[order])
        found = slopes_at(at.value, torch.stack(batches), torch.stack(classes))
        at = optimiser.step(at, found)
    return at
