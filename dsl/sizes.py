"""Arithmetic of a network on an image: parameters and operations, without building it."""

from dataclasses import dataclass

from ddspec.dsl.spec import ConvNet

NORM_GROUPS = 4
"""Groups of the norm called "group", as in the field's code."""


@dataclass(frozen=True)
class NetworkSize:
    """What a network costs on one image."""

    parameters: int
    tensors: int
    """Number of parameter tensors."""
    multiply_adds: int
    """Of one forward pass on one image; training costs about three times that."""
    activations: int
    """Numbers kept by one forward pass on one image for the pass back."""


def convnet_size(net: ConvNet, channels: int, height: int, width: int, classes: int) -> NetworkSize:
    """Size of a ConvNet (3x3 convolutions, norm, 2x2 pooling; one linear layer at the end)."""
    parameters = tensors = operations = activations = 0
    for _ in range(net.depth):
        area = height * width
        parameters += net.width * (channels * 9 + 1)
        operations += area * net.width * channels * 9
        tensors += 2
        if net.norm != "none":
            parameters += 2 * net.width * (area if net.norm == "layer" else 1)
            tensors += 2
        activations += area * (channels + 3 * net.width)
        channels = net.width
        if net.pooling != "none":
            height, width = height // 2, width // 2
    features = channels * height * width
    return NetworkSize(
        parameters=parameters + (features + 1) * classes,
        tensors=tensors + 2,
        multiply_adds=operations + features * classes,
        activations=activations + features + classes,
    )


def deepest(height: int, width: int) -> int:
    """How often an image can be halved before nothing is left."""
    return min(height, width).bit_length() - 1
