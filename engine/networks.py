"""Networks as pure functions of one flat parameter vector.

The vector is the concatenation of the module's parameters in their own order: for each block
convolution weight, bias, norm weight, bias; at the end the linear layer's weight and bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from ddspec.dsl.datasets import DatasetFacts
from ddspec.dsl.sizes import NORM_GROUPS
from ddspec.dsl.spec import ConvNet, PlainNetwork
from ddspec.dsl.terms import Activation, Norm, Pooling
from ddspec.engine.architectures import plain_network
from ddspec.engine.seeds import seed_of


@dataclass(frozen=True)
class FlatNetwork:
    """A network without parameters of its own: `net(theta, images)` gives logits."""

    module: nn.Sequential
    """Layers in order, the last one linear."""
    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    sizes: tuple[int, ...]
    """Numbers in each parameter tensor, in the order of the flat vector."""

    def __call__(
        self, theta: Float[Tensor, " p"], images: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n classes"]:
        """Logits of the images under the parameters `theta`."""
        return functional_call(self.module, self.named(theta), (images,))

    def features(
        self, theta: Float[Tensor, " p"], images: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n features"]:
        """Penultimate features: what the last, linear layer is given."""
        body = self.module[:-1]
        there = {name for name, _ in body.named_parameters()}
        named = {name: tensor for name, tensor in self.named(theta).items() if name in there}
        return functional_call(body, named, (images,))

    def named(self, theta: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """The parameter tensors of a flat vector by name."""
        tensors = torch.split(theta, list(self.sizes))
        return {
            name: tensor.view(shape)
            for name, tensor, shape in zip(self.names, tensors, self.shapes, strict=True)
        }

    @property
    def parameters(self) -> int:
        """Length of the flat vector."""
        return sum(self.sizes)


def flat_network(net: ConvNet | PlainNetwork, facts: DatasetFacts) -> FlatNetwork:
    """The network that a spec describes, for images and classes of a dataset."""
    return forward_of(build(net, facts.channels, facts.height, facts.width, facts.classes))


def forward_of(module: nn.Sequential) -> FlatNetwork:
    """Any module without running statistics as a function of its flat parameters.

    Takes the module over: it loses its own parameters.
    """
    if any(True for _ in module.buffers()):
        raise ValueError("a network with running statistics is no function of its parameters")
    names, tensors = zip(*module.named_parameters(), strict=True)
    shapes = tuple(tensor.shape for tensor in tensors)
    sizes = tuple(shape.numel() for shape in shapes)
    return FlatNetwork(module.to("meta"), names, shapes, sizes)


def flatten(tensors: Sequence[Tensor]) -> Float[Tensor, " p"]:
    """Parameter tensors as one flat vector."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def initial_parameters(
    net: ConvNet | PlainNetwork, facts: DatasetFacts, seed: int, *path: str | int
) -> Float[Tensor, " p"]:
    """A fresh initialisation by PyTorch's defaults, on the CPU, drawn from a named stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, *path))
        module = build(net, facts.channels, facts.height, facts.width, facts.classes)
    return flatten(list(module.parameters()))


def build(
    net: ConvNet | PlainNetwork, channels: int, height: int, width: int, classes: int
) -> nn.Sequential:
    """The module a spec describes."""
    match net:
        case ConvNet():
            return convnet(net, channels, height, width, classes)
        case PlainNetwork(name=name):
            return plain_network(name, channels, height, width, classes)
        case _:
            assert_never(net)


def convnet(net: ConvNet, channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Blocks of 3x3 convolution (padding 1, bias), norm, activation, 2x2 pooling; one linear layer.

    The ConvNet of the field since DC (arXiv:2006.05929).
    """
    layers: list[nn.Module] = []
    for _ in range(net.depth):
        layers.append(nn.Conv2d(channels, net.width, kernel_size=3, padding=1))
        layers.extend(norm(net.norm, net.width, height, width))
        layers.append(activation(net.activation))
        layers.extend(pooling(net.pooling))
        channels = net.width
        if net.pooling != "none":
            height, width = height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, classes))


def norm(name: Norm, channels: int, height: int, width: int) -> list[nn.Module]:
    """A norm without running statistics; "instance" is group norm with a group per channel."""
    match name:
        case "instance":
            return [nn.GroupNorm(channels, channels)]
        case "layer":
            return [nn.LayerNorm([channels, height, width])]
        case "group":
            return [nn.GroupNorm(NORM_GROUPS, channels)]
        case "none":
            return []
        case _:
            assert_never(name)


def activation(name: Activation) -> nn.Module:
    """The nonlinearity of that name."""
    match name:
        case "relu":
            return nn.ReLU()
        case "leaky_relu":
            return nn.LeakyReLU(0.01)
        case "sigmoid":
            return nn.Sigmoid()
        case "swish":
            return nn.SiLU()
        case _:
            assert_never(name)


def pooling(name: Pooling) -> list[nn.Module]:
    """2x2 pooling with stride 2, or none."""
    match name:
        case "average":
            return [nn.AvgPool2d(2)]
        case "max":
            return [nn.MaxPool2d(2)]
        case "none":
            return []
        case _:
            assert_never(name)
