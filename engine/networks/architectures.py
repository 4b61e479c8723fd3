"""Networks other than the ConvNet, as the field uses them since DC (arXiv:2006.05929).

Each is a sequence that ends in a linear layer. "Instance norm" is group norm with one group per
channel, which keeps no running statistics; networks whose name ends in `_bn` have batch norm
instead. The first convolution enlarges grey 28x28 images. Initialisations are PyTorch's.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ddspec.dsl.facts.network_sizes import ALEXNET, RESNET18, RESNET_POOL, VGG11, extra_padding
from ddspec.dsl.terms import PlainNetworkName
from ddspec.engine.networks.layers import InstanceNorm

NormFactory = Callable[[int], nn.Module]
"""Makes a norm for a number of channels."""


def plain_network(
    name: PlainNetworkName, channels: int, height: int, width: int, classes: int
) -> nn.Sequential:
    """Return the network of that name for images of that shape."""
    extra = extra_padding(channels, height, width)
    match name:
        case "mlp":
            layers = mlp(channels * height * width)
        case "lenet":
            layers = lenet(channels, height + 2 * extra, width + 2 * extra, extra)
        case "alexnet":
            layers = alexnet(channels, extra)
        case "vgg11":
            layers = vgg11(channels, extra, InstanceNorm)
        case "vgg11_bn":
            layers = vgg11(channels, extra, nn.BatchNorm2d)
        case "resnet18":
            layers = resnet18(channels, extra, InstanceNorm, pooled=False)
        case "resnet18_bn":
            layers = resnet18(channels, extra, nn.BatchNorm2d, pooled=False)
        case "resnet18_ap":
            layers = resnet18(channels, extra, InstanceNorm, pooled=True)
        case _:
            assert_never(name)
    body = nn.Sequential(*layers, nn.Flatten())
    return nn.Sequential(*body, nn.Linear(feature_count(body, channels, height, width), classes))


@torch.no_grad()
def feature_count(body: nn.Sequential, channels: int, height: int, width: int) -> int:
    """Return the number of features that the last layer receives for one image."""
    # In evaluation mode, and on a copy, running statistics stay untouched.
    copied = deepcopy(body).eval()
    return int(copied(torch.zeros(1, channels, height, width)).shape[1])


def mlp(inputs: int) -> list[nn.Module]:
    """Return an MLP with two hidden layers of 128."""
    first = [nn.Flatten(), nn.Linear(inputs, 128), nn.ReLU()]
    return [*first, nn.Linear(128, 128), nn.ReLU()]


def lenet(channels: int, height: int, width: int, extra: int) -> list[nn.Module]:
    """Return LeNet: two unpadded 5x5 convolutions, max pooling, two hidden layers."""
    layers: list[nn.Module] = []
    for out in (6, 16):
        layers += [nn.Conv2d(channels, out, 5, padding=extra), nn.ReLU(), nn.MaxPool2d(2)]
        # An unpadded 5x5 convolution shortens a side by 4; pooling then halves it.
        channels, height, width, extra = out, (height - 4) // 2, (width - 4) // 2, 0
    hidden = [nn.Flatten(), nn.Linear(channels * height * width, 120), nn.ReLU()]
    return [*layers, *hidden, nn.Linear(120, 84), nn.ReLU()]


def alexnet(channels: int, extra: int) -> list[nn.Module]:
    """Return AlexNet: five convolutions without norm, max pooling after 1, 2 and 5."""
    layers: list[nn.Module] = []
    for out, size, pooled in ALEXNET:
        layers += [nn.Conv2d(channels, out, size, padding=size // 2 + extra), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pooled else []
        channels, extra = out, 0
    return layers


def vgg11(channels: int, extra: int, norm: NormFactory) -> list[nn.Module]:
    """Return VGG11: eight convolutions with a norm each, max pooling five times."""
    layers: list[nn.Module] = []
    for out, pooled in VGG11:
        layers += [nn.Conv2d(channels, out, 3, padding=1 + extra), norm(out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pooled else []
        channels, extra = out, 0
    return layers


def resnet18(channels: int, extra: int, norm: NormFactory, pooled: bool) -> list[nn.Module]:
    """Return ResNet18: a stem of 64 channels and eight basic blocks.

    With `pooled`, average pooling stands in place of the strides and of the last pooling.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 64, 3, padding=1 + extra, bias=False),
        norm(64),
        nn.ReLU(),
    ]
    channels = 64
    for out, stride in RESNET18:
        layers.append(BasicBlock(channels, out, stride, norm, pooled))
        channels = out
    return layers if pooled else [*layers, nn.AvgPool2d(RESNET_POOL)]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    With `pooled`, average pooling replaces the stride: after the first activation, and in the
    shortcut after its 1x1 convolution.
    """

    def __init__(
        self, channels: int, out: int, stride: int, norm: NormFactory, pooled: bool
    ) -> None:
        super().__init__()
        # The field's `_AP` variants: a convolution of stride 1, then average pooling.
        step = 1 if pooled else stride
        self.pool = stride if pooled else 1
        self.conv1 = nn.Conv2d(channels, out, 3, stride=step, padding=1, bias=False)
        self.norm1 = norm(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = norm(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut.append(nn.Conv2d(channels, out, 1, stride=step, bias=False))
            self.shortcut.extend([nn.AvgPool2d(stride)] if pooled else [])
            self.shortcut.append(norm(out))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        """Return the block's output maps."""
        inner = F.relu(self.norm1(self.conv1(images)))
        if self.pool > 1:
            # Both ways through the block must arrive at maps of one size.
            inner = F.avg_pool2d(inner, self.pool)
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(images))
