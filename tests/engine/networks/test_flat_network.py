"""Parameter counts of the field, the flat form, and shapes of every variant."""

from itertools import product
from typing import get_args

import pytest
import torch
from torch import nn

from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.facts.network_sizes import network_size
from ddspec.dsl.spec.network import ConvNet
from ddspec.dsl.terms import Activation, Norm, Pooling
from ddspec.engine.networks.flat_network import (
    build_module,
    flat_network,
    flat_network_of,
    flatten,
    initial_parameters,
)


@pytest.mark.parametrize(("dataset", "count"), [("cifar10", 320_010), ("cifar100", 504_420)])
def test_convnet_has_the_fields_number_of_parameters(dataset, count):
    assert flat_network(ConvNet(), KNOWN[dataset]).parameters == count


@pytest.mark.parametrize(
    ("dataset", "depth", "count"),
    [
        ("mnist", 3, 1_558_538),
        ("cifar10", 3, 1_560_842),
        ("cifar100", 3, 2_298_212),
        ("tiny_imagenet", 4, 9_475_528),
    ],
)
def test_doubling_widths_without_norm_are_frepos_evaluation_network(dataset, depth, count):
    form, facts = ConvNet(depth=depth, norm="none", widths="doubling"), KNOWN[dataset]
    assert form.channels == (128, 256, 512, 1024)[:depth]
    assert flat_network(form, facts).parameters == count
    size = network_size(form, facts.channels, facts.height, facts.width, facts.classes)
    assert size.parameters == count


def test_lecun_weights_have_one_over_their_inputs_as_variance_and_no_bias():
    form = ConvNet(depth=2, width=64, norm="none", initialisation="lecun")
    theta = initial_parameters(form, KNOWN["cifar10"], 0, "test")
    tensors = flat_network(form, KNOWN["cifar10"]).tensors(theta)
    for name, tensor in tensors.items():
        if name.endswith("bias"):
            assert not tensor.any()
        else:
            inputs = tensor[0].numel()
            assert tensor.var() * inputs == pytest.approx(1, rel=0.1)
            assert abs(tensor).max() * inputs**0.5 < 2 / 0.879
    usual = form.model_copy(update={"initialisation": "torch"})
    assert not torch.equal(theta, initial_parameters(usual, KNOWN["cifar10"], 0, "test"))


@pytest.mark.parametrize(("norm", "pooling"), list(product(get_args(Norm), get_args(Pooling))))
def test_size_is_known_without_building(norm, pooling):
    net = ConvNet(depth=2, width=8, norm=norm, pooling=pooling)
    size = network_size(net, 3, 16, 12, 5)
    module = build_module(net, 3, 16, 12, 5)
    assert size.parameters == sum(p.numel() for p in module.parameters())
    assert size.tensors == len(list(module.parameters()))
    assert bool(list(module.buffers())) == (norm == "batch")
    assert module(torch.zeros(2, 3, 16, 12)).shape == (2, 5)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_flat_form_is_the_module_bitwise(activation):
    module = build_module(ConvNet(depth=2, width=8, activation=activation), 3, 8, 8, 4)
    theta = flatten(list(module.parameters()))
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = module(images)
    assert torch.equal(flat_network_of(module)(theta, images), expected)


def test_instance_norm_is_per_image_and_channel():
    module = build_module(ConvNet(depth=1, width=4), 1, 8, 8, 2)
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    hidden = module[0](images)
    by_hand = (hidden - hidden.mean((2, 3), keepdim=True)) / (
        hidden.var((2, 3), keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    torch.testing.assert_close(module[1](hidden), by_hand, rtol=1e-4, atol=1e-5)


def test_initialisation_comes_from_its_stream_and_leaves_the_global_one():
    net, facts = ConvNet(depth=1, width=4), KNOWN["digits"]
    before = torch.random.get_rng_state()
    first = initial_parameters(net, facts, 0, "expert", 0)
    assert torch.equal(first, initial_parameters(net, facts, 0, "expert", 0))
    assert not torch.equal(first, initial_parameters(net, facts, 0, "expert", 1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_network_with_running_statistics_is_no_function_of_its_parameters():
    net = flat_network_of(nn.Sequential(nn.BatchNorm2d(3)))
    with pytest.raises(ValueError, match="running statistics"):
        net(torch.zeros(6), torch.zeros(1, 3, 4, 4))


def test_batch_norm_is_trained_on_batches_and_tested_with_what_it_remembers():
    """As torch's own module does in its two modes; every fresh network begins anew."""
    module = build_module(ConvNet(depth=1, width=4, norm="batch"), 3, 8, 8, 2)
    twin = build_module(ConvNet(depth=1, width=4, norm="batch"), 3, 8, 8, 2)
    twin.load_state_dict(module.state_dict())
    theta, net = flatten(list(module.parameters())), flat_network_of(module)
    generator = torch.Generator().manual_seed(0)
    trainee = net.in_training(torch.device("cpu"))
    for _ in range(3):
        images = torch.randn(5, 3, 8, 8, generator=generator)
        assert torch.equal(trainee.learning(theta, images), twin.train()(images))
    assert torch.equal(trainee.tested(theta, images), twin.eval()(images))
    fresh = net.in_training(torch.device("cpu"))
    assert not torch.allclose(fresh.tested(theta, images), trainee.tested(theta, images))


def test_grey_28_pixels_are_brought_to_32_by_the_first_layer():
    """MNIST: 317,706 parameters at depth 3, of which the last layer sees 4x4 maps."""
    net = ConvNet()
    assert flat_network(net, KNOWN["mnist"]).parameters == 317_706
    assert network_size(net, 1, 28, 28, 10).parameters == 317_706
    module = build_module(net, 1, 28, 28, 10)
    assert module[:3](torch.zeros(1, 1, 28, 28)).shape == (1, 128, 32, 32)
    larger = build_module(net, 1, 32, 32, 10)
    larger.load_state_dict(module.state_dict())
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    torch.testing.assert_close(module(images), larger(padded))
