"""The field's other networks: listed parameter counts, and forwards written out anew."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.facts.network_sizes import SMALLEST_SIDE, network_size
from ddspec.dsl.spec.network import PlainNetwork
from ddspec.engine.networks.flat_network import build_module, flat_network, initial_parameters
from ddspec.engine.networks.layers import InstanceNorm

COUNTS = {
    "mlp": (411_146, 422_756),
    "lenet": (62_006, 69_656),
    "alexnet": (1_872_202, 2_148_772),
    "vgg11": (9_231_114, 9_277_284),
    "vgg11_bn": (9_231_114, 9_277_284),
    "resnet18": (11_173_962, 11_220_132),
    "resnet18_bn": (11_173_962, 11_220_132),
    "resnet18_ap": (11_250_762, 11_988_132),
}
"""Parameters at 32x32 pixels in colour, for 10 and for 100 classes."""


@pytest.mark.parametrize("name", COUNTS)
def test_networks_have_the_listed_numbers_of_parameters(name):
    net = PlainNetwork(name=name)
    for classes, count in zip((10, 100), COUNTS[name], strict=True):
        assert network_size(net, 3, 32, 32, classes).parameters == count
    module = build_module(net, 3, 32, 32, 10)
    tensors = list(module.parameters())
    assert sum(tensor.numel() for tensor in tensors) == COUNTS[name][0]
    assert network_size(net, 3, 32, 32, 10).tensors == len(tensors)
    assert bool(list(module.buffers())) == name.endswith("_bn")


@pytest.mark.parametrize(("name", "side"), SMALLEST_SIDE.items())
def test_smallest_images_pass_and_sizes_are_known_without_building(name, side):
    net = PlainNetwork(name=name)
    module = build_module(net, 1, side, side, 7)
    assert module(torch.zeros(2, 1, side, side)).shape == (2, 7)
    size = network_size(net, 1, side, side, 7)
    assert size.parameters == sum(p.numel() for p in module.parameters())


def instance(x, weight, bias):
    """Instance norm from its definition."""
    mean = x.mean((2, 3), keepdim=True)
    scale = (x - mean).square().mean((2, 3), keepdim=True).add(1e-5).sqrt()
    return (x - mean) / scale * weight[:, None, None] + bias[:, None, None]


def reference(name, p, x):
    """Each network as its description reads; `p` yields its parameter tensors in order."""

    def conv(x, bias=True, **options):
        return F.conv2d(x, next(p), next(p) if bias else None, **options)

    def norm(x):
        return instance(x, next(p), next(p))

    def linear(x):
        return F.linear(x, next(p), next(p))

    if name == "mlp":
        return linear(linear(linear(x.flatten(1)).relu()).relu())
    if name == "lenet":
        for _ in range(2):
            x = F.max_pool2d(conv(x).relu(), 2)
        return linear(linear(linear(x.flatten(1)).relu()).relu())
    if name == "alexnet":
        for padding, pooled in ((2, 1), (2, 1), (1, 0), (1, 0), (1, 1)):
            x = conv(x, padding=padding).relu()
            x = F.max_pool2d(x, 2) if pooled else x
        return linear(x.flatten(1))
    if name == "vgg11":
        for pooled in (1, 1, 0, 1, 0, 1, 0, 1):
            x = norm(conv(x, padding=1)).relu()
            x = F.max_pool2d(x, 2) if pooled else x
        return linear(x.flatten(1))
    pooled = name == "resnet18_ap"
    x = norm(conv(x, bias=False, padding=1)).relu()
    for block in range(8):
        halved = block in (2, 4, 6)
        stride = 2 if halved and not pooled else 1
        y = norm(conv(x, bias=False, padding=1, stride=stride)).relu()
        y = F.avg_pool2d(y, 2) if halved and pooled else y
        y = norm(conv(y, bias=False, padding=1))
        if halved:
            x = conv(x, bias=False, stride=stride)
            x = norm(F.avg_pool2d(x, 2) if pooled else x)
        x = (y + x).relu()
    return linear((x if pooled else F.avg_pool2d(x, 4)).flatten(1))


@pytest.mark.parametrize("name", [name for name in SMALLEST_SIDE if name != "mlp"])
def test_grey_28_pixels_are_seen_as_if_padded_to_32(name):
    module, larger = (
        build_module(PlainNetwork(name=name), 1, side, side, 10).eval() for side in (28, 32)
    )
    larger.load_state_dict(module.state_dict())
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    padded = F.pad(images, (2, 2, 2, 2))
    torch.testing.assert_close(module(images), larger(padded), rtol=1e-4, atol=1e-5)
    size = network_size(PlainNetwork(name=name), 1, 28, 28, 10)
    assert size.parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
def test_batch_norm_stands_where_instance_norm_stands(name):
    plain, batch = (
        [type(layer) for layer in build_module(PlainNetwork(name=kind), 3, 32, 32, 10).modules()]
        for kind in (name, f"{name}_bn")
    )
    swapped = [torch.nn.BatchNorm2d if kind is InstanceNorm else kind for kind in plain]
    assert swapped == batch


@pytest.mark.parametrize("name", [name for name in COUNTS if not name.endswith("_bn")])
def test_forward_is_the_one_written_out(name):
    net = PlainNetwork(name=name)
    flat = flat_network(net, KNOWN["cifar10"])
    theta = initial_parameters(net, KNOWN["cifar10"], 0, "test").double()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    tensors = (
        tensor.view(shape)
        for tensor, shape in zip(theta.split(list(flat.sizes)), flat.shapes, strict=True)
    )
    expected = reference(name, iter(tensors), images)
    torch.testing.assert_close(flat(theta, images), expected, rtol=1e-6, atol=1e-9)
    features = flat.features(theta, images)
    assert features.shape[0] == 2 and features.dim() == 2
