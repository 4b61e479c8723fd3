"""Parameters and operations of a network on an image, counted without building it."""

from dataclasses import dataclass, field
from typing import assert_never

from ddspec.dsl.keys.extension import ExtensionNetwork
from ddspec.dsl.spec.network import ConvNet, LibraryNetwork, PlainNetwork
from ddspec.dsl.terms import PlainNetworkName

NORM_GROUPS = 4
"""Groups of the norm called "group", as in the field's code."""

SMALLEST_SIDE: dict[str, int] = {
    "mlp": 1,
    "lenet": 16,
    "alexnet": 8,
    "vgg11": 32,
    "vgg11_bn": 32,
    "resnet18": 32,
    "resnet18_bn": 32,
    "resnet18_ap": 16,
}
"""Smallest side of an image for which a network's last map has enough pixels."""


@dataclass(frozen=True)
class NetworkSize:
    """The cost of a network on one image."""

    parameters: int
    tensors: int
    """Number of parameter tensors."""
    multiply_adds: int
    """Multiply-adds of a forward pass on one image; training costs about three times that."""
    activations: int
    """Numbers that a forward pass on one image keeps for the backward pass."""
    blocks: int
    """Number of convolutions and linear layers, each of which costs its launches."""
    widest: int
    """Numbers in the largest map of one image."""


@dataclass(frozen=True)
class FittedNetwork:
    """A network of a library or an extension as it is fitted to the images, with its size."""

    network: LibraryNetwork | ExtensionNetwork
    size: NetworkSize


@dataclass
class SizeCounter:
    """A counter that follows a network layer by layer with the shape of its maps."""

    channels: int
    height: int
    width: int
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("parameters", "tensors", "multiply_adds", "activations", "blocks", "widest"), 0
        )
    )

    def add(self, **counts: int) -> None:
        """Add to the counts."""
        for name, count in counts.items():
            self.counts[name] += count

    @property
    def area(self) -> int:
        """Return the pixels of a map."""
        return self.height * self.width

    def conv(
        self, out: int, size: int, padding: int = 0, stride: int = 1, bias: bool = True
    ) -> None:
        """Add a square convolution to the counts; the first one enlarges some images."""
        if not self.counts["blocks"]:
            padding += extra_padding(self.channels, self.height, self.width)
        self.add(activations=self.area * self.channels)
        weights = out * self.channels * size**2
        self.height = (self.height + 2 * padding - size) // stride + 1
        self.width = (self.width + 2 * padding - size) // stride + 1
        self.add(
            parameters=weights + out * bias,
            tensors=1 + bias,
            multiply_adds=self.area * weights,
            blocks=1,
        )
        self.channels = out
        self.counts["widest"] = max(self.counts["widest"], self.area * out)

    def norm(self, per_channel: int = 1) -> None:
        """Add an affine norm layer to the counts."""
        self.add(parameters=2 * self.channels * per_channel, tensors=2)
        self.add(activations=self.area * self.channels)

    def activation(self) -> None:
        """Add an activation layer to the counts."""
        self.add(activations=self.area * self.channels)

    def pool(self, size: int = 2) -> None:
        """Add a pooling layer, which divides both sides by `size`, to the counts."""
        self.add(activations=self.area * self.channels)
        self.height, self.width = self.height // size, self.width // size

    def linear(self, out: int) -> None:
        """Add a linear layer on all remaining maps to the counts."""
        features = self.channels * self.area
        self.add(
            parameters=(features + 1) * out,
            tensors=2,
            multiply_adds=features * out,
            activations=features + out,
            blocks=1,
        )
        self.channels, self.height, self.width = out, 1, 1

    def size(self) -> NetworkSize:
        """Return the counts."""
        return NetworkSize(**self.counts)


def network_size(
    net: ConvNet | PlainNetwork, channels: int, height: int, width: int, classes: int
) -> NetworkSize:
    """Return the size of a spec's network on the images of a dataset."""
    tally = SizeCounter(channels, height, width)
    match net:
        case ConvNet():
            count_convnet(tally, net)
        case PlainNetwork(name=name):
            count_plain(tally, name)
        case _:
            assert_never(net)
    tally.linear(classes)
    return tally.size()


def count_convnet(tally: SizeCounter, net: ConvNet) -> None:
    """Count the blocks of a ConvNet: convolution, norm, activation, pooling."""
    for channels in net.channels:
        tally.conv(channels, 3, padding=1)
        if net.norm != "none":
            tally.norm(tally.area if net.norm == "layer" else 1)
        tally.activation()
        if net.pooling != "none":
            tally.pool()


def count_plain(tally: SizeCounter, name: PlainNetworkName) -> None:
    """Count everything before the last linear layer."""
    match name:
        case "mlp":
            for _ in range(2):
                tally.linear(128)
                tally.activation()
        case "lenet":
            for out in (6, 16):
                tally.conv(out, 5)
                tally.activation()
                tally.pool()
            for out in (120, 84):
                tally.linear(out)
                tally.activation()
        case "alexnet":
            for out, size, pooled in ALEXNET:
                tally.conv(out, size, padding=size // 2)
                tally.activation()
                if pooled:
                    tally.pool()
        case "vgg11" | "vgg11_bn":
            for out, pooled in VGG11:
                tally.conv(out, 3, padding=1)
                tally.norm()
                tally.activation()
                if pooled:
                    tally.pool()
        case "resnet18" | "resnet18_bn" | "resnet18_ap":
            count_resnet(tally, pooled=name == "resnet18_ap")
        case _:
            assert_never(name)


ALEXNET = ((128, 5, True), (192, 5, True), (256, 3, False), (192, 3, False), (192, 3, True))
"""Convolutions of AlexNet in the field's form: channels, size, whether pooling follows."""

VGG11 = (
    (64, True),
    (128, True),
    (256, False),
    (256, True),
    (512, False),
    (512, True),
    (512, False),
    (512, True),
)
"""Convolutions of VGG11: channels, whether pooling follows."""

RESNET18 = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
"""Basic blocks of ResNet18: channels, stride."""

RESNET_POOL = 4
"""Average pooling at the end of ResNet18."""


def count_resnet(tally: SizeCounter, pooled: bool) -> None:
    """Count the stem and the basic blocks of ResNet18.

    With `pooled`, pooling replaces the strides and the last pooling.
    """
    tally.conv(64, 3, padding=1, bias=False)
    tally.norm()
    tally.activation()
    for out, stride in RESNET18:
        step = 1 if pooled else stride
        if stride > 1 or tally.channels != out:
            shortcut = SizeCounter(tally.channels, tally.height, tally.width, tally.counts)
            shortcut.conv(out, 1, stride=step, bias=False)
            shortcut.norm()
        tally.conv(out, 3, padding=1, stride=step, bias=False)
        tally.norm()
        tally.activation()
        if pooled and stride > 1:
            tally.pool()
        tally.conv(out, 3, padding=1, bias=False)
        tally.norm()
        tally.activation()
    if not pooled:
        tally.pool(RESNET_POOL)


def extra_padding(channels: int, height: int, width: int) -> int:
    """Return the extra padding of the first convolution: it makes grey 28x28 images 32x32.

    The field's code does the same with MNIST and Fashion-MNIST.
    """
    return 2 if (channels, height, width) == (1, 28, 28) else 0


def deepest(channels: int, height: int, width: int) -> int:
    """Return how often an image can be halved before no pixel is left."""
    side = min(height, width) + 2 * extra_padding(channels, height, width)
    return side.bit_length() - 1
