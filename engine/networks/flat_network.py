"""Networks as pure functions of one flat parameter vector.

The vector is the concatenation of the module's parameters in the module's order: for each block
the weight and bias of the convolution, then of the norm; at the end those of the linear layer.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import assert_never, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.network_sizes import NORM_GROUPS, extra_padding
from ddspec.dsl.keys.extension import ExtensionNetwork
from ddspec.dsl.spec.network import AnyNetwork, ConvNet, LibraryNetwork, PlainNetwork
from ddspec.dsl.terms import Activation, Initialisation, Norm, Pooling, Precision
from ddspec.engine.networks.architectures import plain_network
from ddspec.engine.networks.classifiers import build_library_network
from ddspec.engine.networks.extension_network import extension_network
from ddspec.engine.networks.layers import AveragePool, InstanceNorm
from ddspec.engine.numerics.seeds import seed_of

Forward = Callable[[Tensor, Tensor], Tensor]
"""Maps a flat parameter vector and a batch of images to logits."""


@dataclass(frozen=True)
class FlatNetwork:
    """A network that holds no parameters: `net(theta, images)` returns logits."""

    module: nn.Module
    """Layers in order, the last one linear; of a library's network, the whole."""
    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    sizes: tuple[int, ...]
    """Length of each parameter tensor, in the order of the flat vector."""
    statistics: Mapping[str, Tensor]
    """Running statistics of a fresh network by name; only batch norm has any."""
    precision: Precision = "float32"
    """Precision of the products in convolutions and linear layers; images and logits keep their
    type."""
    has_modes: bool = False
    """Whether it works otherwise in training than when it is tested, as with dropout."""

    @property
    def layers(self) -> nn.Sequential:
        """The layers in order; raise ValueError for a network of a library."""
        if not isinstance(self.module, nn.Sequential):
            raise ValueError("a classifier of torchvision or timm is not a sequence of layers")
        return self.module

    def __call__(
        self, theta: Float[Tensor, " p"], images: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n classes"]:
        """Return the logits of the images under the parameters `theta`.

        Raises ValueError for a network with running statistics; `in_training` serves those.
        """
        if self.statistics:
            raise ValueError(
                "a network with running statistics is not a function of its parameters"
            )
        return self.apply(self.module, self.tensors(theta), images)

    def apply(
        self, module: nn.Module, tensors: Mapping[str, Tensor], images: Float[Tensor, "n c h w"]
    ) -> Tensor:
        """Call a module with these parameter tensors, in the network's precision."""
        with product_precision(self.precision, images.device):
            output: Tensor = functional_call(module, dict(tensors), (images,))
        return output.to(images.dtype)

    def in_training(self, device: torch.device) -> "Trainee":
        """Return a fresh network to train; one with batch norm gets its own running statistics."""
        if not (self.statistics or self.has_modes):
            return Trainee(self, self)
        # Both modules share these tensors: training moves them, testing reads them.
        statistics = {name: value.clone().to(device) for name, value in self.statistics.items()}
        learning, tested = deepcopy(self.module).train(), deepcopy(self.module).eval()
        return Trainee(
            lambda theta, images: self.apply(learning, self.tensors(theta) | statistics, images),
            lambda theta, images: self.apply(tested, self.tensors(theta) | statistics, images),
        )

    def features(
        self, theta: Float[Tensor, " p"], images: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n features"]:
        """Return penultimate features: the input of the last, linear layer."""
        return self.through(slice(None, -1), theta, images)

    def layer_outputs(
        self, theta: Float[Tensor, " p"], images: Float[Tensor, "n c h w"]
    ) -> list[Float[Tensor, "n ..."]]:
        """Return the output of every block before its pooling, then the penultimate features.

        A block ends with its activation; the features are those of the last pooling, flattened.
        """
        ends = [
            index + 1
            for index, layer in enumerate(self.layers)
            if isinstance(layer, get_args(ActivationLayer))
        ]
        outputs = []
        for start, end in pairwise([0, *ends, len(self.layers) - 1]):
            images = self.through(slice(start, end), theta, images)
            outputs.append(images)
        return outputs

    def through(self, layers: slice, theta: Float[Tensor, " p"], inputs: Tensor) -> Tensor:
        """Return the output of some consecutive layers."""
        part = self.layers[layers]
        names = {name for name, _ in part.named_parameters()}
        tensors = {name: tensor for name, tensor in self.tensors(theta).items() if name in names}
        return self.apply(part, tensors, inputs)

    def tensors(self, theta: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """Return the parameter tensors by name, as views of the flat vector."""
        # Views: autograd gathers the gradients of all tensors in one gradient of `theta`.
        pieces = torch.split(theta, list(self.sizes))
        return {
            name: piece.view(shape)
            for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)
        }

    @property
    def parameters(self) -> int:
        """Length of the flat vector."""
        return sum(self.sizes)


@dataclass(frozen=True)
class Trainee:
    """A network that is being trained, in its two modes."""

    learning: Forward
    """Training mode; it moves the running statistics, if the network has any."""
    tested: Forward
    """Evaluation mode."""


def product_precision(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which convolutions and linear layers multiply in that precision.

    Only bfloat16 needs one; tf32 is a switch of the whole process.
    """
    if precision != "bfloat16":
        return nullcontext()
    # Autocast's cache would tie a CUDA graph to casts that an earlier call made.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def flat_network(
    net: AnyNetwork, facts: DatasetFacts, precision: Precision = "float32"
) -> FlatNetwork:
    """Return the network that a spec describes, for the images and classes of a dataset."""
    with torch.random.fork_rng(devices=[]):
        module = build_module(net, facts.channels, facts.height, facts.width, facts.classes)
    flat = flat_network_of(module)
    return replace(flat, precision=precision, has_modes=has_modes(net))


def has_modes(net: AnyNetwork) -> bool:
    """Return whether a network may work otherwise in training than when it is tested."""
    return isinstance(net, LibraryNetwork | ExtensionNetwork)


def flat_network_of(module: nn.Module) -> FlatNetwork:
    """Turn a module into a function of its flat parameters.

    The module is moved to the meta device and so loses its own parameters.
    """
    statistics = {name: value.clone() for name, value in module.named_buffers()}
    names, tensors = zip(*module.named_parameters(), strict=True)
    shapes = tuple(tensor.shape for tensor in tensors)
    sizes = tuple(shape.numel() for shape in shapes)
    # A parameter on the meta device has no values, so using one by mistake raises.
    return FlatNetwork(module.to("meta"), names, shapes, sizes, statistics)


def flatten(tensors: Sequence[Tensor]) -> Float[Tensor, " p"]:
    """Concatenate parameter tensors into one flat vector."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def initial_parameters(
    net: AnyNetwork, facts: DatasetFacts, seed: int, *path: str | int
) -> Float[Tensor, " p"]:
    """Return a fresh initialisation, on the CPU, from a named stream."""
    with torch.random.fork_rng(devices=[]):
        # Modules draw from torch's global stream: it is seeded here and put back afterwards.
        torch.manual_seed(seed_of(seed, *path))
        module = build_module(net, facts.channels, facts.height, facts.width, facts.classes)
    return flatten(list(module.parameters()))


def build_module(
    net: AnyNetwork, channels: int, height: int, width: int, classes: int
) -> nn.Module:
    """Return the module that a spec describes."""
    match net:
        case ConvNet():
            return convnet(net, channels, height, width, classes)
        case PlainNetwork(name=name):
            return plain_network(name, channels, height, width, classes)
        case LibraryNetwork():
            return build_library_network(net, channels, classes)
        case ExtensionNetwork():
            return extension_network(net, channels, height, width, classes)
        case _:
            assert_never(net)


def convnet(net: ConvNet, channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Stack blocks of 3x3 convolution, norm, activation and 2x2 pooling under a linear layer.

    The ConvNet of the field since DC (arXiv:2006.05929): convolutions have padding 1 and a bias.
    As there, the first convolution enlarges the grey 28x28 images of MNIST to 32x32.
    """
    layers: list[nn.Module] = []
    extra = extra_padding(channels, height, width)
    for out in net.channels:
        # `extra` enlarges the input of the first block only.
        layers.append(nn.Conv2d(channels, out, kernel_size=3, padding=1 + extra))
        height, width, extra = height + 2 * extra, width + 2 * extra, 0
        layers.extend(norm_layers(net.norm, out, height, width))
        layers.append(activation_layer(net.activation))
        layers.extend(pooling_layers(net.pooling))
        channels = out
        if net.pooling != "none":
            height, width = height // 2, width // 2
    layers += [nn.Flatten(), nn.Linear(channels * height * width, classes)]
    initialise_weights(layers, net.initialisation)
    return nn.Sequential(*layers)


TRUNCATED = 0.87962566103423978
"""Standard deviation of a standard normal that is cut off at -2 and 2."""


def initialise_weights(layers: Sequence[nn.Module], name: Initialisation) -> None:
    """Give convolutions and linear layers their initial weights, in place."""
    match name:
        case "torch":
            pass  # The layers have them already.
        case "lecun":
            for layer in layers:
                if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                    # That of flax: the normal is widened so that it has its variance when cut.
                    std = layer.weight[0].numel() ** -0.5 / TRUNCATED
                    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
                    nn.init.zeros_(layer.bias)
        case _:
            assert_never(name)


def norm_layers(name: Norm, channels: int, height: int, width: int) -> list[nn.Module]:
    """Return the norm of that name, or none; only "batch" keeps running statistics.

    "instance" is group norm with one group per channel, as the field uses the word.
    """
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


ActivationLayer = nn.ReLU | nn.LeakyReLU | nn.Sigmoid | nn.SiLU


def activation_layer(name: Activation) -> ActivationLayer:
    """Return the nonlinearity of that name."""
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
    """Return 2x2 pooling with stride 2, or none."""
    match name:
        case "average":
            return [AveragePool()]
        case "max":
            return [nn.MaxPool2d(2)]
        case "none":
            return []
        case _:
            assert_never(name)
