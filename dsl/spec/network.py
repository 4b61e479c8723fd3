"""The table [network], and the networks that an evaluation names."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator

from ddspec.dsl.document import Document
from ddspec.dsl.spec.declare import MTT, by_name_or, key
from ddspec.dsl.terms import Activation, NetworkName, Norm, PlainNetworkName, Pooling


class ConvNet(Document):
    """The field's ConvNet: blocks of 3x3 convolution, norm, activation, 2x2 pooling."""

    name: Literal["convnet"] = key("convnet", source=MTT)
    """`convnet`, with the keys below, or a network in its usual form: `mlp`, `lenet`,
    `alexnet`, `vgg11`, `resnet18`, or `resnet18_ap` (average pooling in place of
    strides). Those that normalise use instance norm. `vgg11_bn` and `resnet18_bn` use
    batch norm and are for evaluation only."""
    depth: int = key(3, source=MTT, ge=1, le=8)
    """Number of blocks; pooling halves the image in each of them."""
    width: int = key(128, source=MTT, ge=1, le=4096)
    """Output channels of every convolution."""
    norm: Norm = key("instance", source=MTT)
    """Normalisation after each convolution. `batch` keeps running statistics, which a
    trajectory of parameters cannot hold: it is for evaluation only, as `convnet_bn`."""
    pooling: Pooling = key("average", source=MTT)
    """2x2 pooling at the end of each block."""
    activation: Activation = key("relu", source=MTT)
    """Nonlinearity after each norm."""


class PlainNetwork(Document):
    """A network in the one form that the field uses, without settings."""

    name: PlainNetworkName = key(source=MTT)
    """Kind of network."""


Network = Annotated[
    Annotated[ConvNet | PlainNetwork, Discriminator("name")],
    BeforeValidator(by_name_or("convnet")),
]


def network_of(name: NetworkName, shared: ConvNet | PlainNetwork) -> ConvNet | PlainNetwork:
    """Return the network that an evaluation calls `name`.

    It is `shared`, the network of [network], if that has this name; otherwise the
    network in its usual form. `convnet_bn` is the ConvNet with batch norm as its norm.
    """
    if name == shared.name:
        return shared
    usual = shared if isinstance(shared, ConvNet) else ConvNet()
    match name:
        case "convnet":
            return usual
        case "convnet_bn":
            return usual.model_copy(update={"norm": "batch"})
        case _:
            return PlainNetwork(name=name)


def keeps_statistics(net: ConvNet | PlainNetwork) -> bool:
    """Return whether a network has running statistics beside its parameters."""
    return net.norm == "batch" if isinstance(net, ConvNet) else net.name.endswith("_bn")
