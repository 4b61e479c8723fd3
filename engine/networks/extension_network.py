"""Networks of installed extensions, and what they must be like to be trained as experts."""

import torch
from torch import nn

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.network_sizes import FittedNetwork
from ddspec.dsl.keys.extension import ExtensionNetwork
from ddspec.engine.networks.classifiers import measured_size
from ddspec.engine.numerics.extension_code import call_part

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.RReLU)
"""Layers that draw random numbers in training."""


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
    layers = list(module) if isinstance(module, nn.Sequential) else []
    if not layers or not isinstance(layers[-1], nn.Linear):
        problem = "it is not an nn.Sequential that ends in nn.Linear"
    elif list(module.buffers()):
        problem = "it has buffers, which a trajectory of parameters cannot hold"
    elif any(isinstance(layer, DROPOUT) for layer in module.modules()):
        problem = "it has dropout"
    elif any(not p.requires_grad or p.dtype != torch.float32 for p in module.parameters()):
        problem = "it has parameters that are frozen or not float32"
    if problem:
        raise MachineError(
            f"{net.name} cannot be the network of experts and students: {problem}",
            hint="name it in evaluation.networks instead, where it only judges",
        )
