"""The table [network], and the networks that an evaluation names."""

import re
from typing import Annotated, Literal, cast, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import FREPO, MTT, by_name_or, key
from ddspec.dsl.keys.extension import (
    EXTENSION,
    LANGUAGE_ITSELF,
    OWNED,
    ExtensionNetwork,
    kind_of_part,
)
from ddspec.dsl.terms import (
    Activation,
    FieldNetworkName,
    Initialisation,
    NetworkName,
    Norm,
    PackageName,
    PlainNetworkName,
    Pooling,
    Widths,
)


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
    """Output channels of the first convolution, and of every other one if `widths` is
    `constant`."""
    widths: Widths = key("constant", source=FREPO)
    """Channels of the further blocks: as many as in the first (`constant`), or in each twice
    as many as in the block before (`doubling`, FRePo)."""
    norm: Norm = key("instance", source=MTT)
    """Normalisation after each convolution. `batch` keeps running statistics, which a
    trajectory of parameters cannot hold: it is for evaluation only, as `convnet_bn`."""
    pooling: Pooling = key("average", source=MTT)
    """2x2 pooling at the end of each block."""
    activation: Activation = key("relu", source=MTT)
    """Nonlinearity after each norm."""
    initialisation: Initialisation = key("torch", source=FREPO)
    """Distribution of initial weights: that of PyTorch's layers (`torch`), or normal with
    variance 1 / inputs, cut off at two deviations, and biases of zero (`lecun`, FRePo)."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of each block."""
        growth = 2 if self.widths == "doubling" else 1
        return tuple(self.width * growth**block for block in range(self.depth))


class PlainNetwork(Document):
    """A network in the one form that the field uses, without settings."""

    name: PlainNetworkName = key(source=MTT)
    """Kind of network."""


Network = Annotated[
    Annotated[
        Annotated[
            Annotated[ConvNet | PlainNetwork, Discriminator("name")],
            Tag(LANGUAGE_ITSELF),
        ]
        | Annotated[ExtensionNetwork, Tag(EXTENSION)],
        Discriminator(kind_of_part("name")),
    ],
    BeforeValidator(by_name_or("convnet")),
]


VARIANT = re.compile(r"convnet(?:_d(?P<depth>[1-8]))?(?:_w(?P<width>[1-9][0-9]{0,3}))?")
"""Name of a ConvNet of another depth or width than usual, such as convnet_d4 or convnet_w256."""

LIBRARY = r"(?:torchvision|timm)/[a-z][a-z0-9_.]{0,79}"

JUDGES = rf"^(?:{VARIANT.pattern.replace('?P<depth>', '?:').replace('?P<width>', '?:')}|{OWNED})$"
"""Names of evaluation networks beside those of the field."""

JudgeName = FieldNetworkName | Annotated[str, Field(pattern=JUDGES)]
"""Name of an evaluation network."""

JUDGE_WORDS = (
    "a variant such as convnet_d4, convnet_w256 or convnet_d4_w256, any classifier of "
    "torchvision or timm, such as torchvision/resnet18 or timm/mobilenetv3_small_100, or a "
    "network of an installed extension, such as mylab/wide"
)


class LibraryNetwork(Document):
    """A classifier of torchvision or timm, fitted to small images; for evaluation alone."""

    name: str = key(source=MTT, pattern=rf"^{LIBRARY}$")
    """Library and model, such as torchvision/resnet18."""
    input_side: int = key(0, source=MTT, ge=0, le=4096)
    """Side to which images are enlarged for it; 0 if it takes them as they are."""
    small_stem: bool = key(False, source=MTT)
    """Whether its first convolution is 3x3 with stride 1, and its first pooling left out."""

    @property
    def package(self) -> PackageName:
        """The package that has the model."""
        return cast(PackageName, self.name.partition("/")[0])

    @property
    def model(self) -> str:
        """The model's name in its package."""
        return self.name.partition("/")[2]

    @property
    def fitting(self) -> str:
        """How it was fitted to the images, in words; empty if it takes them as it is."""
        parts = []
        if self.small_stem:
            parts.append("first convolution 3x3 with stride 1, no first pooling")
        if self.input_side:
            parts.append(f"images enlarged to {self.input_side}x{self.input_side}")
        return "; ".join(parts)


TrainedNetwork = ConvNet | PlainNetwork | ExtensionNetwork
"""A network of experts and students."""

AnyNetwork = TrainedNetwork | LibraryNetwork

JudgingNetwork = Network | LibraryNetwork
"""A network of an evaluation."""


def network_of(name: NetworkName, shared: TrainedNetwork) -> AnyNetwork:
    """Return the network that an evaluation calls `name`.

    It is `shared`, the network of [network], if that has this name; otherwise the
    network in its usual form. `convnet_bn` is the ConvNet with batch norm as its norm,
    `convnet_d4` that with four blocks.
    """
    if name == shared.name:
        return shared
    usual = shared if isinstance(shared, ConvNet) else ConvNet()
    variant = VARIANT.fullmatch(name)
    if variant is not None:
        sizes = {what: int(size) for what, size in variant.groupdict().items() if size}
        return usual.model_copy(update=sizes)
    if name == "convnet_bn":
        return usual.model_copy(update={"norm": "batch"})
    if name.partition("/")[0] in get_args(PackageName):
        return LibraryNetwork(name=name)
    if "/" in name:
        return ExtensionNetwork(name=name)
    return PlainNetwork(name=cast(PlainNetworkName, name))


def network_id(name: NetworkName) -> str:
    """Return a network's name for steps and files, which have no slashes."""
    return name.replace("/", "-")


def keeps_statistics(net: TrainedNetwork) -> bool:
    """Return whether a network of the field has running statistics beside its parameters."""
    return net.norm == "batch" if isinstance(net, ConvNet) else net.name.endswith("_bn")
