"""The optimiser and the epoch are torch's; the last, smaller batch counts."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.engine.numerics.seeds import random_stream, seed_of
from ddspec.engine.training.epoch import (
    EpochSettings,
    LabelledImages,
    cross_entropy_gradient,
    forward_in_batches,
    train_epoch,
)
from ddspec.engine.training.epoch import measure_accuracy as accuracy
from ddspec.engine.training.optimisers import (
    AdamOptimiser,
    LambOptimiser,
    OptimiserState,
    SgdOptimiser,
)


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.01)])
def test_step_is_torch_sgd(momentum, decay):
    value = torch.linspace(-1, 1, 5, dtype=torch.float64)
    parameter = value.clone().requires_grad_()
    sgd = torch.optim.SGD([parameter], lr=0.1, momentum=momentum, weight_decay=decay)
    at = OptimiserState.without_memory(value)
    for step in range(4):
        gradient = torch.cos(at.value * step)
        parameter.grad = gradient.clone()
        sgd.step()
        at = SgdOptimiser(0.1, momentum, decay).step(at, gradient)
    torch.testing.assert_close(at.value, parameter.detach(), rtol=1e-14, atol=1e-14)


def test_epoch_visits_every_image_once_in_batches(problem):
    generator = torch.Generator().manual_seed(0)
    result = train_epoch(
        cross_entropy_gradient(problem.net),
        OptimiserState.without_memory(problem.start),
        LabelledImages(problem.images, problem.labels),
        EpochSettings(4, SgdOptimiser(0.1, 0.9)),
        generator,
    )

    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    sgd = torch.optim.SGD(problem.module.parameters(), lr=0.1, momentum=0.9)
    losses = 0.0
    for batch in (order[:4], order[4:]):
        sgd.zero_grad()
        loss = F.cross_entropy(problem.module(problem.images[batch]), problem.labels[batch])
        losses += loss.item() * len(batch)
        loss.backward()
        sgd.step()
    ended = torch.cat([p.detach().flatten() for p in problem.module.parameters()])
    torch.testing.assert_close(result.end.value, ended, rtol=1e-12, atol=1e-12)
    # The running sum of losses is kept in float32.
    assert result.loss == pytest.approx(losses / 6, rel=1e-6)


def test_accuracy_is_in_percent(problem):
    predicted = problem.net(problem.start, problem.images).argmax(1)
    assert accuracy(problem.net, problem.start, problem.images, predicted) == 100.0
    in_parts = forward_in_batches(problem.net, problem.start, problem.images, 4)
    torch.testing.assert_close(in_parts, problem.net(problem.start, problem.images))


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_step_is_torch_adam(decay):
    value = torch.linspace(-1, 1, 5, dtype=torch.float64)
    parameter = value.clone().requires_grad_()
    adam = torch.optim.Adam([parameter], lr=0.1, betas=(0.8, 0.99), eps=1e-7, weight_decay=decay)
    at = OptimiserState.without_memory(value)
    for step in range(4):
        gradient = torch.cos(at.value * step)
        parameter.grad = gradient.clone()
        adam.step()
        at = AdamOptimiser(0.1, 0.8, 0.99, 1e-7, decay).step(at, gradient)
    torch.testing.assert_close(at.value, parameter.detach(), rtol=1e-13, atol=1e-13)


def test_lamb_steps_as_adam_but_as_long_as_its_rate_of_the_value():
    value = torch.linspace(-1, 1, 5, dtype=torch.float64)
    at = OptimiserState.without_memory(value)
    adam = torch.zeros(2, 5, dtype=torch.float64)
    for step in range(1, 5):
        gradient = torch.cos(at.value * step)
        adam[0] = 0.9 * adam[0] + 0.1 * gradient
        adam[1] = 0.999 * adam[1] + 0.001 * gradient**2
        along = (adam[0] / (1 - 0.9**step)) / ((adam[1] / (1 - 0.999**step)).sqrt() + 1e-6)
        expected = at.value - 0.01 * at.value.norm() / along.norm() * along
        before, at = at.value, LambOptimiser(0.01, 0.9, 0.999, 1e-6).step(at, gradient)
        torch.testing.assert_close(at.value, expected, rtol=1e-12, atol=1e-14)
        assert (at.value - before).norm() == pytest.approx(0.01 * float(before.norm()))
        assert at.steps == step


def test_lamb_moves_a_value_of_zero_as_adam_does():
    zero = OptimiserState.without_memory(torch.zeros(3))
    gradient = torch.tensor([1.0, -2.0, 3.0])
    lamb = LambOptimiser(0.1, 0.9, 0.999, 1e-6).step(zero, gradient)
    adam = AdamOptimiser(0.1, 0.9, 0.999, 1e-6).step(zero, gradient)
    assert torch.equal(lamb.value, adam.value)
    still = LambOptimiser(0.1, 0.9, 0.999, 1e-6).step(zero, torch.zeros(3))
    assert torch.equal(still.value, torch.zeros(3))


def test_soft_labels_that_are_one_hot_train_like_classes(problem):
    ends = []
    for labels in (problem.labels, F.one_hot(problem.labels, 3).double()):
        generator = torch.Generator().manual_seed(0)
        result = train_epoch(
            cross_entropy_gradient(problem.net),
            OptimiserState.without_memory(problem.start),
            LabelledImages(problem.images, labels),
            EpochSettings(4, SgdOptimiser(0.1)),
            generator,
        )
        ends.append(result)
    torch.testing.assert_close(ends[0].end.value, ends[1].end.value, rtol=1e-12, atol=1e-12)
    assert ends[0].accuracy == ends[1].accuracy


def test_streams_depend_on_every_part_of_their_address():
    places = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a", "1"), (0, "a", 1, 0)]
    assert len({seed_of(*address) for address in places}) == len(places)
    first, again = random_stream(0, "a", 1), random_stream(0, "a", 1)
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=again))
    assert seed_of(0, "expert", 0, "epoch", 0) == 2950885293557115368
