"""Networks beside the ConvNet, in the forms of the field (since DC, arXiv:2006.05929).

Every one is a sequence that ends in a linear layer. "Instance norm" is group norm with a group per
channel, which keeps no running statistics; initialisations are PyTorch's.
"""

from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ddspec.dsl.sizes import ALEXNET, RESNET18, RESNET_POOL, VGG11
from ddspec.dsl.terms import PlainNetworkName


def plain_network(
    name: PlainNetworkName, channels: int, height: int, width: int, classes: int
) -> nn.Sequential:
    """The network of that name for images of that shape."""
    match name:
        case "mlp":
            layers = mlp(channels * height * width)
        case "lenet":
            layers = lenet(channels, height, width)
        case "alexnet":
            layers = alexnet(channels)
        case "vgg11":
            layers = vgg11(channels)
        case "resnet18":
            layers = [*resnet18(channels, pooled=False), nn.AvgPool2d(RESNET_POOL), nn.Flatten()]
        case "resnet18_ap":
            layers = [*resnet18(channels, pooled=True), nn.Flatten()]
        case _:
            assert_never(name)
    body = nn.Sequential(*layers)
    return nn.Sequential(*layers, nn.Linear(features_of(body, channels, height, width), classes))


@torch.no_grad()
def features_of(body: nn.Sequential, channels: int, height: int, width: int) -> int:
    """Numbers that the last layer is given for one image."""
    return int(body(torch.zeros(1, channels, height, width)).shape[1])


def mlp(inputs: int) -> list[nn.Module]:
    """Two hidden layers of 128."""
    first = [nn.Flatten(), nn.Linear(inputs, 128), nn.ReLU()]
    return [*first, nn.Linear(128, 128), nn.ReLU()]


def lenet(channels: int, height: int, width: int) -> list[nn.Module]:
    """Two 5x5 convolutions without padding, max pooling, two hidden layers."""
    layers: list[nn.Module] = []
    for out in (6, 16):
        layers += [nn.Conv2d(channels, out, 5), nn.ReLU(), nn.MaxPool2d(2)]
        channels, height, width = out, (height - 4) // 2, (width - 4) // 2
    hidden = [nn.Flatten(), nn.Linear(channels * height * width, 120), nn.ReLU()]
    return [*layers, *hidden, nn.Linear(120, 84), nn.ReLU()]


def alexnet(channels: int) -> list[nn.Module]:
    """Five convolutions without norm, max pooling after the first two and the last."""
    layers: list[nn.Module] = []
    for out, size, pooled in ALEXNET:
        layers += [nn.Conv2d(channels, out, size, padding=size // 2), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pooled else []
        channels = out
    return [*layers, nn.Flatten()]


def vgg11(channels: int) -> list[nn.Module]:
    """Eight convolutions with instance norm, max pooling five times."""
    layers: list[nn.Module] = []
    for out, pooled in VGG11:
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.GroupNorm(out, out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pooled else []
        channels = out
    return [*layers, nn.Flatten()]


def resnet18(channels: int, pooled: bool) -> list[nn.Module]:
    """A stem of 64 channels and eight basic blocks."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 64, 3, padding=1, bias=False),
        nn.GroupNorm(64, 64),
        nn.ReLU(),
    ]
    channels = 64
    for out, stride in RESNET18:
        layers.append(BasicBlock(channels, out, stride, pooled))
        channels = out
    return layers


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; `pooled`: average pooling in place of the stride.

    The pooling stands after the first activation, and in the shortcut after its 1x1 convolution.
    """

    def __init__(self, channels: int, out: int, stride: int, pooled: bool) -> None:
        super().__init__()
        step = 1 if pooled else stride
        self.pool = stride if pooled else 1
        self.conv1 = nn.Conv2d(channels, out, 3, stride=step, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(out, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(out, out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut.append(nn.Conv2d(channels, out, 1, stride=step, bias=False))
            self.shortcut.extend([nn.AvgPool2d(stride)] if pooled else [])
            self.shortcut.append(nn.GroupNorm(out, out))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        """The block's map."""
        inner = F.relu(self.norm1(self.conv1(images)))
        if self.pool > 1:
            inner = F.avg_pool2d(inner, self.pool)
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(images))
