"""Networks trained together: each does what it does alone, whoever else is there."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.spec.network import ConvNet
from ddspec.engine.networks.flat_network import flat_network, initial_parameters
from ddspec.engine.networks.stacked import StackedNetworks
from ddspec.engine.training.epoch import (
    EpochSettings,
    LabelledImages,
    cross_entropy_gradient,
    train_epoch,
)
from ddspec.engine.training.optimisers import OptimiserState, SgdOptimiser
from ddspec.engine.training.stacked_epoch import (
    stacked_gradient_fn,
    stacked_gradients,
    train_stacked_epoch,
)

FORMS = {
    "usual": ConvNet(depth=2, width=8),
    "bare": ConvNet(depth=2, width=8, norm="none", pooling="max", activation="swish"),
    "doubling": ConvNet(depth=2, width=4, widths="doubling"),
    "flat": ConvNet(depth=1, width=4, pooling="none", activation="leaky_relu"),
}


def thetas(form, facts, count, dtype=torch.float64):
    vectors = [initial_parameters(form, facts, 0, "test", index) for index in range(count)]
    return torch.stack(vectors).to(dtype)


def draws(count, *shape):
    return torch.randn(
        count, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar10"])
def test_logits_and_slopes_are_those_of_each_network_alone(form, dataset):
    facts = KNOWN[dataset]
    net = flat_network(form, facts)
    parameters, images = (
        thetas(form, facts, 3),
        draws(3, 4, facts.channels, facts.height, facts.width),
    )
    labels = torch.arange(12).view(3, 4) % 10
    stack = StackedNetworks(net, form)
    gradients = stacked_gradients(stack, parameters, images, labels)
    for index in range(3):
        alone = parameters[index].clone().requires_grad_()
        logits = net(alone, images[index])
        torch.testing.assert_close(stack(parameters, images)[index], logits, rtol=1e-10, atol=1e-10)
        (slope,) = torch.autograd.grad(F.cross_entropy(logits, labels[index]), alone)
        torch.testing.assert_close(gradients[index], slope, rtol=1e-10, atol=1e-10)


def test_slopes_of_a_regression_are_those_of_each_network_alone():
    form, facts = FORMS["bare"], KNOWN["digits"]
    net = flat_network(form, facts)
    parameters, images = thetas(form, facts, 3), draws(3, 7, 1, 8, 8)
    labels = draws(3, 7, 10)
    stack = StackedNetworks(net, form)
    gradients = stacked_gradients(stack, parameters, images, labels, regression=True)
    for index in range(3):
        alone = parameters[index].clone().requires_grad_()
        error = (net(alone, images[index]) - labels[index]).square().sum(1).mean() / 2
        (slope,) = torch.autograd.grad(error, alone)
        torch.testing.assert_close(gradients[index], slope, rtol=1e-10, atol=1e-10)


def test_each_network_draws_from_its_own_stream_as_if_it_were_alone():
    form, facts = FORMS["usual"], KNOWN["digits"]
    net, families = flat_network(form, facts), ("color", "crop", "scale")
    parameters, images = thetas(form, facts, 3), list(draws(3, 7, 1, 8, 8))
    labels = [torch.arange(7) % 10] * 3
    optimiser = SgdOptimiser(0.1, 0.9, 5e-4)

    def streams():
        return [torch.Generator().manual_seed(index) for index in range(3)]

    at = OptimiserState.without_memory(parameters)
    for _ in range(2):
        generators = streams()
        at = train_stacked_epoch(
            stacked_gradient_fn(StackedNetworks(net, form), recorded=False),
            at,
            [*map(LabelledImages, images, labels)],
            EpochSettings(3, optimiser, families),
            generators,
        )
    for index in range(3):
        alone = OptimiserState.without_memory(parameters[index])
        for _ in range(2):
            alone = train_epoch(
                cross_entropy_gradient(net),
                alone,
                LabelledImages(images[index], labels[index]),
                EpochSettings(3, optimiser, families),
                streams()[index],
            ).end
        torch.testing.assert_close(at.value[index], alone.value, rtol=1e-9, atol=1e-11)


def test_company_changes_no_bit_of_a_network():
    form, facts = FORMS["usual"], KNOWN["digits"]
    stack = StackedNetworks(flat_network(form, facts), form)
    parameters, images = thetas(form, facts, 5, torch.float32), draws(5, 10, 1, 8, 8).float()
    labels = (torch.arange(50) % 10).view(5, 10)
    whole = stacked_gradients(stack, parameters, images, labels)
    for order in ([4, 3, 2, 1, 0], [1, 1, 1, 1, 1], [2, 0, 0, 0, 2]):
        other = stacked_gradients(stack, parameters[order], images[order], labels[order])
        assert torch.equal(other, whole[order])
