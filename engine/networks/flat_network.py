"""Networks as pure functions of one flat parameter vector.

The vector is the concatenation of the module's parameters in their own order: for each block
convolution weight, bias, norm weight, bias; at the end the linear layer's weight and bias.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.network_sizes import NORM_GROUPS, extra_padding
from ddspec.dsl.spec.experiment import ConvNet, PlainNetwork
from ddspec.dsl.terms import Activation, Norm, Pooling, Precision
from ddspec.engine.networks.architectures import plain_network
from ddspec.engine.networks.layers import AveragePool, InstanceNorm
from ddspec.engine.numerics.seeds import seed_of

Forward = Callable[[Tensor, Tensor], Tensor]
"""Logits from a flat parameter vector and a batch of images."""


@dataclass(frozen=True)
class FlatNetwork:
    """A network without parameters of its own: `net(theta, images)` gives logits."""

    module: nn.Sequential
    """Layers in order, the last one linear."""
    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    sizes: tuple[int, ...]
    """Numbers in each parameter tensor, in the order of the flat vector."""
    statistics: Mapping[str, Tensor]
    """Running statistics of a fresh network by name; most networks have none."""
    precision: Precision = "float32"
    """Of the products in convolutions and linear layers; what goes in and out is as it was."""

    def __call__(
        self, theta: Float[Tensor, " p"], images: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n classes"]:
        """Logits of the images under the parameters `theta`."""
        if self.statistics:
            raise ValueError("a network with running statistics is no function of its parameters")
        return self.applied(self.module, self.named(theta), images)

    def applied(
        self, module: nn.Module, tensors: Mapping[str, Tensor], images: Float[Tensor, "n c h w"]
    ) -> Tensor:
        """What a module with these tensors makes of images, in the network's precision."""
        with product_precision(self.precision, images.device):
            found: Tensor = functional_call(module, dict(tensors), (images,))
        return found.to(images.dtype)

    def in_training(self, device: torch.device) -> "Trainee":
        """A fresh network to train: with running statistics of its own, where it keeps any."""
        if not self.statistics:
            return Trainee(self, self)
        kept = {name: value.clone().to(device) for name, value in self.statistics.items()}
        learning, tested = deepcopy(self.module).train(), deepcopy(self.module).eval()
        return Trainee(
            lambda theta, images: self.applied(learning, self.named(theta) | kept, images),
            lambda theta, images: self.applied(tested, self.named(theta) | kept, images),
        )

    def features(
        self, theta: Float[Tensor, " p"], images: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n features"]:
        """Penultimate features: what the last, linear layer is given."""
        body = self.module[:-1]
        there = {name for name, _ in body.named_parameters()}
        named = {name: tensor for name, tensor in self.named(theta).items() if name in there}
        return self.applied(body, named, images)

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


@dataclass(frozen=True)
class Trainee:
    """A network on its way: both give logits from parameters and images."""

    learning: Forward
    """On a batch to learn from; moves the running statistics, where there are any."""
    tested: Forward
    """On images to be tested with."""


def product_precision(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Where convolutions and linear layers multiply in that precision.

    Only bfloat16 is said at each call; tf32 is a switch of the whole process.
    """
    if precision != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def flat_network(
    net: ConvNet | PlainNetwork, facts: DatasetFacts, precision: Precision = "float32"
) -> FlatNetwork:
    """The network that a spec describes, for images and classes of a dataset."""
    module = build_module(net, facts.channels, facts.height, facts.width, facts.classes)
    return replace(flat_network_of(module), precision=precision)


def flat_network_of(module: nn.Sequential) -> FlatNetwork:
    """Any module as a function of its flat parameters.

    Takes the module over: it loses its own parameters.
    """
    statistics = {name: value.clone() for name, value in module.named_buffers()}
    names, tensors = zip(*module.named_parameters(), strict=True)
    shapes = tuple(tensor.shape for tensor in tensors)
    sizes = tuple(shape.numel() for shape in shapes)
    return FlatNetwork(module.to("meta"), names, shapes, sizes, statistics)


def flatten(tensors: Sequence[Tensor]) -> Float[Tensor, " p"]:
    """Parameter tensors as one flat vector."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def initial_parameters(
    net: ConvNet | PlainNetwork, facts: DatasetFacts, seed: int, *path: str | int
) -> Float[Tensor, " p"]:
    """A fresh initialisation by PyTorch's defaults, on the CPU, drawn from a named stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, *path))
        module = build_module(net, facts.channels, facts.height, facts.width, facts.classes)
    return flatten(list(module.parameters()))


def build_module(
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

    The ConvNet of the field since DC (arXiv:2006.05929), where the first layer brings the grey
    28x28 images of MNIST to 32x32.
    """
    layers: list[nn.Module] = []
    extra = extra_padding(channels, height, width)
    for _ in range(net.depth):
        layers.append(nn.Conv2d(channels, net.width, kernel_size=3, padding=1 + extra))
        height, width, extra = height + 2 * extra, width + 2 * extra, 0
        layers.extend(norm_layers(net.norm, net.width, height, width))
        layers.append(activation_layer(net.activation))
        layers.extend(pooling_layers(net.pooling))
        channels = net.width
        if net.pooling != "none":
            height, width = height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, classes))


def norm_layers(name: Norm, channels: int, height: int, width: int) -> list[nn.Module]:
    """A norm; "instance" is group norm with a group per channel. Only "batch" keeps statistics."""
    match name:
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "instance":
            return [InstanceNorm(channels)]
        case "layer":
            return [nn.LayerNorm([channels, height, width])]
        case "group":
            return [nn.GroupNorm(NORM_GROUPS, channels)]
        case "none":
            return []
        case _:
            assert_never(name)


def activation_layer(name: Activation) -> nn.Module:
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


def pooling_layers(name: Pooling) -> list[nn.Module]:
    """2x2 pooling with stride 2, or none."""
    match name:
        case "average":
            return [AveragePool()]
        case "max":
            return [nn.MaxPool2d(2)]
        case "none":
            return []
        case _:
            assert_never(name)
