"""Classifiers of torchvision and timm as evaluation networks, untrained and for small images.

Their first layers are made for photographs of 224 pixels. As the field does with ResNets on CIFAR,
the first convolution becomes 3x3 with stride 1, and a pooling right after it is left out. Networks
that do not work so, such as vision transformers with positions of patches, stay as they are, and
images are enlarged to the least side that they take. Nothing is downloaded.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any, assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.network_sizes import FittedNetwork, NetworkSize
from ddspec.dsl.spec.network import LibraryNetwork

SIDES = (32, 64, 96, 128, 160, 192, 224, 240, 256, 299, 384, 448, 512)
"""Sides to which images are enlarged, of which the first that a network takes is used."""

SMALL_IMAGE = 96
"""Images below this side get the stem for small images."""

Shape = tuple[int, int, int]


class LibraryClassifier(nn.Module):
    """A classifier of a library that takes the images of a dataset."""

    def __init__(self, classifier: nn.Module, input_side: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.input_side = input_side

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Return the logits, after enlarging the images if the network needs it."""
        if self.input_side:
            side = (self.input_side, self.input_side)
            images = F.interpolate(images, side, mode="bilinear", align_corners=False)
        logits: Tensor = self.classifier(images)
        return logits


def check_library(network: LibraryNetwork) -> None:
    """Raise MachineError if a network's library is not installed, or does not have it."""
    match network.package:
        case "torchvision":
            from torchvision import models

            known = models.list_models(module=models)
        case "timm":
            if importlib.util.find_spec("timm") is None:
                raise MachineError(
                    f"{network.name} needs timm, which is not installed",
                    hint='pip install "ddspec[timm]"',
                )
            import timm

            known = timm.list_models()
        case _:
            assert_never(network.package)
    # timm names weights after a dot; the network is the same.
    if network.model.partition(".")[0] not in known:
        near = [name for name in known if name.startswith(network.model[:6])][:8]
        raise MachineError(
            f"{network.package} has no classifier named {network.model!r}",
            hint=f"similar: {', '.join(near)}" if near else "look at its list of models",
        )


def classifier_of(network: LibraryNetwork, channels: int, classes: int) -> nn.Module:
    """Return the library's own network, untrained, for images of so many channels."""
    if network.package == "timm":
        import timm

        name = network.model.partition(".")[0]
        made: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=classes, in_chans=channels
        )
        return made
    from torchvision import models

    options: dict[str, Any] = {"num_classes": classes}
    if network.model in ("googlenet", "inception_v3"):
        # Auxiliary classifiers would return several logits in training.
        options |= {"aux_logits": False, "init_weights": True}
    net: nn.Module = models.get_model(network.model, weights=None, **options)
    if channels != 3:
        replace_first_convolution(net, channels, small=False)
    return net


def build_library_network(
    network: LibraryNetwork, channels: int, classes: int
) -> LibraryClassifier:
    """Return a network as it was fitted, with fresh parameters from torch's global stream."""
    net = classifier_of(network, channels, classes)
    if network.small_stem:
        with_small_stem(net, channels)
    return LibraryClassifier(net, network.input_side)


def convolutions(net: nn.Module) -> Iterator[str]:
    """Yield the names of all convolutions, in the order of the modules."""
    return (name for name, module in net.named_modules() if isinstance(module, nn.Conv2d))


def replace_module(net: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in the place of another one."""
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, new)


def replace_first_convolution(net: nn.Module, channels: int, *, small: bool) -> None:
    """Give a network a first convolution for so many channels; `small`: 3x3 with stride 1."""
    name = next(convolutions(net))
    old = net.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    kernel, stride, padding = (3, 1, 1) if small else (old.kernel_size, old.stride, old.padding)
    new = nn.Conv2d(
        channels,
        old.out_channels,
        kernel,  # type: ignore[arg-type]
        stride=stride,  # type: ignore[arg-type]
        padding=padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    replace_module(net, name, new)


def with_small_stem(net: nn.Module, channels: int) -> None:
    """Fit the first layers of a network to small images."""
    replace_first_convolution(net, channels, small=True)
    seen = 0
    for name, module in list(net.named_modules()):
        seen += isinstance(module, nn.Conv2d)
        if seen == 2:
            return
        if seen == 1 and isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            replace_module(net, name, nn.Identity())
            return


def fit_library_network(network: LibraryNetwork, facts: DatasetFacts) -> FittedNetwork:
    """Return how a network takes the images of a dataset, and its size there.

    Raises MachineError if its library is missing or does not have it, or if it takes images of
    none of the sides.
    """
    check_library(network)
    shape = (facts.channels, facts.height, facts.width)
    for fitted in fittings(network, facts):
        size = size_if_it_works(fitted, shape, facts.classes)
        if size is not None:
            return FittedNetwork(fitted, size)
    raise MachineError(
        f"{network.name} takes no images of {facts.height}x{facts.width} pixels, nor of any side "
        f"up to {SIDES[-1]}",
        hint="choose another network for evaluation.networks",
    )


def fittings(network: LibraryNetwork, facts: DatasetFacts) -> Iterator[LibraryNetwork]:
    """Yield ways to fit a network to images, the best first."""
    side = min(facts.height, facts.width)
    larger = [wanted for wanted in SIDES if wanted > max(facts.height, facts.width)]
    for small in (True, False) if side < SMALL_IMAGE else (False,):
        for input_side in (0, *larger):
            # Enlarged images need no stem for small ones beyond twice their side.
            if small and input_side > 2 * max(side, SIDES[0]):
                break
            yield network.model_copy(update={"small_stem": small, "input_side": input_side})


def size_if_it_works(network: LibraryNetwork, shape: Shape, classes: int) -> NetworkSize | None:
    """Return the size of a network on an image; None if it does not take such images."""
    try:
        return measured_size(on_meta(network, shape[0], classes), shape, classes)
    except Exception:  # A library's network raises whatever its layers raise.
        return None


def on_meta(network: LibraryNetwork, channels: int, classes: int) -> nn.Module:
    """Return a network without values, which costs neither memory nor time to run."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build_library_network(network, channels, classes)
        except (RuntimeError, NotImplementedError):
            # Some compute their widths with tensors, which must have values.
            return build_library_network(network, channels, classes).to("meta")


@torch.no_grad()
def measured_size(net: nn.Module, shape: Shape, classes: int) -> NetworkSize | None:
    """Return the size of a network by what its layers do with two images without values.

    None if its logits are not those of the classes.
    """
    counts = {"multiply_adds": 0, "activations": 0, "blocks": 0, "widest": 0}
    images = 2

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        numbers = output.numel() // images
        counts["activations"] += numbers
        counts["widest"] = max(counts["widest"], numbers)
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight
            counts["multiply_adds"] += numbers * (weight.numel() // weight.shape[0])
            counts["blocks"] += 1

    hooks = [m.register_forward_hook(count) for m in net.modules() if not list(m.children())]
    try:
        logits = net(torch.empty(images, *shape, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    if logits.shape != (images, classes):
        return None
    parameters = list(net.parameters())
    return NetworkSize(
        parameters=sum(parameter.numel() for parameter in parameters),
        tensors=len(parameters),
        **counts,
    )
