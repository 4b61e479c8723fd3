"""Networks of installed extensions, and what they must be like to be trained as experts."""

import torch
from torch import nn

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.network_sizes import FittedNetwork
from ddspec.dsl.spec.extension import ExtensionNetwork
from ddspec.engine.networks.classifiers import measured_size
from ddspec.engine.numerics.extension_code import call_part

RANDOM = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
"""Layers that work otherwise in training than when they are tested."""


def extension_network(
    net: ExtensionNetwork, channels: int, height: int, width: int, classes: int
) -> nn.Module:
    """Return a network of an extension, with fresh parameters from torch's global stream.

    Raises MachineError if its function fails or returns something else than a module.
    """
    shape = {"channels": channels, "height": height, "width": width, "classes": classes}
    module = call_part("networks", net, **shape)
    if not isinstance(module, nn.Module):
        raise MachineError(
            f"{net.name} must return a torch.nn.Module, but it is {type(module)}",
            hint=f"report this to the authors of {net.owner}",
        )
    return module


def fit_extension_network(
    net: ExtensionNetwork, facts: DatasetFacts, *, trained: bool
) -> FittedNetwork:
    """Return a network with its size on the images of a dataset.

    `trained` is the network of experts and students. Raises MachineError if it does not take
    such images, or if it is to be trained and is not made for that.
    """
    shape = (facts.channels, facts.height, facts.width)
    with torch.random.fork_rng(devices=[]):
        module = extension_network(net, *shape, facts.classes)
    if trained:
        check_trainable(net, module)
    try:
        size = measured_size(module.to("meta"), shape, facts.classes)
    except Exception as error:  # A stranger's network raises whatever its layers raise.
        raise MachineError(
            f"{net.name} does not take images of {shape[0]}x{shape[1]}x{shape[2]}: {error}",
            hint="choose another network",
        ) from error
    if size is None:
        raise MachineError(
            f"the output of {net.name} is not one logit for each of {facts.classes} classes",
            hint=f"report this to the authors of {net.owner}",
        )
    return FittedNetwork(net, size)


def check_trainable(net: ExtensionNetwork, module: nn.Module) -> None:
    """Raise MachineError if a module cannot be the network of experts and students."""
    problem = ""
    if not isinstance(module, nn.Sequential) or not isinstance(module[-1], nn.Linear):
        problem = "it is not an nn.Sequential that ends in nn.Linear"
    elif list(module.buffers()):
        problem = "it has buffers, which a trajectory of parameters cannot hold"
    elif any(isinstance(layer, RANDOM) for layer in module.modules()):
        problem = "it has dropout or running statistics"
    if problem:
        raise MachineError(
            f"{net.name} cannot be the network of experts and students: {problem}",
            hint="name it in evaluation.networks instead, where it only judges",
        )
