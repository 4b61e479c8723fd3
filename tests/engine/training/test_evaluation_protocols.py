"""Evaluation recipes against torch's own optimiser, schedules and all."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.engine.training.epoch import cross_entropy_gradient
from ddspec.engine.training.evaluation_protocols import (
    MeasuredAccuracy,
    NetworkTraining,
    TrainingSet,
    ast_protocol,
    mtt_protocol,
    train_network,
)


@pytest.mark.parametrize(("epochs", "full"), [(1001, 502), (1000, 501), (5, 4), (1, 1)])
def test_full_rate_runs_as_long_as_in_the_public_code(epochs, full):
    """1,001 epochs: 502 at the full rate, 499 at a tenth."""
    recipe = list(mtt_protocol(epochs, 0.5))
    assert [epoch.optimiser.lr for epoch in recipe].count(0.5) == full
    assert [epoch.tested for epoch in recipe] == [False] * (epochs - 1) + [True]


def test_recipe_of_asts_code_halves_the_rate_and_tests_every_twenty_epochs():
    recipe = list(ast_protocol(50, 0.1))
    assert [epoch.optimiser.lr for epoch in recipe] == [0.1] * 25 + [0.05] * 25
    assert [epoch.optimiser.momentum for epoch in recipe] == [0.9] * 25 + [0.8] * 25
    assert [number for number, epoch in enumerate(recipe, 1) if epoch.tested] == [20, 40, 50]
    assert not any(epoch.resets_momentum for epoch in recipe)


def trained(problem, recipe, tests):
    training = TrainingSet(problem.images, problem.labels, 0.1)
    calls, left = [], (MeasuredAccuracy(accuracy, None) for accuracy in tests)
    generator = torch.Generator().manual_seed(0)
    theta, best = train_network(
        NetworkTraining(recipe, 256, (), lambda theta: next(left), lambda: calls.append(1)),
        cross_entropy_gradient(problem.net),
        problem.start,
        training,
        generator,
    )
    assert len(calls) == 6
    return theta, best.accuracy


def by_torch(problem, change):
    generator = torch.Generator().manual_seed(0)
    parameters = list(problem.module.parameters())
    sgd = None
    for epoch in range(6):
        sgd = change(epoch, parameters, sgd)
        order = torch.randperm(6, generator=generator)
        sgd.zero_grad()
        F.cross_entropy(problem.module(problem.images[order]), problem.labels[order]).backward()
        sgd.step()
    return torch.cat([p.detach().flatten() for p in parameters])


def test_mtt_trains_as_torch_with_a_fresh_optimiser_after_the_drop(problem):
    def change(epoch, parameters, sgd):
        if epoch in (0, 4):
            rate = 0.1 if epoch == 0 else 0.01
            return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=5e-4)
        return sgd

    ours, accuracy = trained(problem, mtt_protocol(6, 0.1), [70.0])
    torch.testing.assert_close(ours, by_torch(problem, change), rtol=1e-12, atol=1e-12)
    assert accuracy == 70.0


def test_ast_trains_as_torch_with_other_settings_in_the_second_half(problem):
    def change(epoch, parameters, sgd):
        if epoch == 0:
            return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3)
        if epoch == 3:
            sgd.param_groups[0].update(lr=0.05, momentum=0.8)
        return sgd

    ours, _ = trained(problem, ast_protocol(6, 0.1), [70.0])
    torch.testing.assert_close(ours, by_torch(problem, change), rtol=1e-12, atol=1e-12)


def test_best_of_the_tests_counts(problem):
    every = [epoch.__class__(epoch.optimiser, tested=True) for epoch in mtt_protocol(6, 0.1)]
    _, accuracy = trained(problem, every, [50.0, 90.0, 60.0, 10.0, 20.0, 30.0])
    assert accuracy == 90.0
