"""Several networks of one architecture evaluated together, each on its own batch.

For small batches of small networks the number of calls decides, not the arithmetic, and one call
for all networks costs as much as for one. The networks are groups of channels of one grouped
convolution. In a stack of a given size, no network's result depends on the others.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.facts.network_sizes import extra_padding
from ddspec.dsl.spec.network import ConvNet
from ddspec.engine.networks.flat_network import (
    FlatNetwork,
    activation_layer,
    pooling_layers,
    product_precision,
)
from ddspec.engine.networks.layers import EPSILON


@dataclass(frozen=True)
class StackedNetworks:
    """ConvNets of one architecture; `stack(thetas, images)` returns every network's logits."""

    net: FlatNetwork
    form: ConvNet

    def __call__(
        self, thetas: Float[Tensor, "k p"], images: Float[Tensor, "k n c h w"]
    ) -> Float[Tensor, "k n classes"]:
        """Return the logits of every network for its images."""
        with product_precision(self.net.precision, images.device):
            return self.logits(thetas, images).to(images.dtype)

    def logits(
        self, thetas: Float[Tensor, "k p"], images: Float[Tensor, "k n c h w"]
    ) -> Float[Tensor, "k n classes"]:
        """Apply the layers one after another."""
        count = len(thetas)
        parts = iter(zip(thetas.split(list(self.net.sizes), dim=1), self.net.shapes, strict=True))

        def next_stacked() -> Tensor:
            """Return the next parameter tensor of all networks, joined along its first axis."""
            values, shape = next(parts)
            return values.reshape(count * shape[0], *shape[1:])

        # (k, n, c, h, w) -> (n, k c, h, w): each network is one group of channels.
        maps = images.transpose(0, 1).flatten(1, 2)
        padding = 1 + extra_padding(*images.shape[2:])
        for _ in range(self.form.depth):
            maps = F.conv2d(maps, next_stacked(), next_stacked(), padding=padding, groups=count)
            padding = 1
            if self.form.norm == "instance":
                # Statistics are taken in the images' precision, as `InstanceNorm` does.
                maps = maps.to(images.dtype)
                maps = F.group_norm(maps, maps.shape[1], next_stacked(), next_stacked(), EPSILON)
            for layer in (
                activation_layer(self.form.activation),
                *pooling_layers(self.form.pooling),
            ):
                maps = layer(maps)
        # (n, k c, h, w) -> (k, n, features), then one product per network.
        features = maps.view(len(maps), count, -1).transpose(0, 1)
        (weights, shape), (biases, _) = parts
        return torch.baddbmm(biases[:, None], features, weights.view(count, *shape).transpose(1, 2))
