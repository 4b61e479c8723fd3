"""Evaluation recipes against torch's own optimiser, schedules and all."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.engine.training.epoch import cross_entropy_gradient, loss_gradient
from ddspec.engine.training.evaluation_protocols import (
    MeasuredAccuracy,
    NetworkTraining,
    TrainingSet,
    ast_protocol,
    best_of,
    dd_ranking_protocol,
    frepo_protocol,
    mtt_protocol,
    rat_bptt_protocol,
    train_network,
)
from ddspec.engine.training.soft_labels import half_squared_error, regression_labels


@pytest.mark.parametrize(("epochs", "full"), [(1001, 502), (1000, 501), (5, 4), (1, 1)])
def test_full_rate_runs_as_long_as_in_the_public_code(epochs, full):
    """1,001 epochs: 502 at the full rate, 499 at a tenth."""
    recipe = list(mtt_protocol(epochs, 0.5))
    assert [epoch.optimiser.lr for epoch in recipe].count(0.5) == full
    assert [epoch.tested for epoch in recipe] == [False] * (epochs - 1) + [True]


@pytest.mark.parametrize(
    ("epochs", "full", "tests"),
    [(1001, 502, 51), (1000, 501, 50), (42, 22, 3), (21, 12, 2), (1, 1, 1)],
)
def test_ast_halves_the_rate_and_tests_as_its_public_code(epochs, full, tests):
    """After E // 2 + 2 of E + 1 epochs; after epochs 1, 21, 41, ..."""
    protocol = list(ast_protocol(epochs, 0.1))
    assert [e.optimiser.lr for e in protocol] == [0.1] * full + [0.05] * (epochs - full)
    assert [e.optimiser.momentum for e in protocol] == [0.9] * full + [0.8] * (epochs - full)
    assert [number for number, e in enumerate(protocol) if e.resets_momentum] == (
        [full] if full < epochs else []
    )
    tested = [number for number, epoch in enumerate(protocol, 1) if epoch.tested]
    assert tested == [1 + 20 * test for test in range(tests)]


def test_dd_ranking_drops_in_the_middle_and_tests_the_last_fifth():
    protocol = list(dd_ranking_protocol(100, 0.1))
    assert [e.optimiser.lr for e in protocol] == [0.1] * 50 + [pytest.approx(0.01)] * 50
    assert not any(epoch.resets_momentum for epoch in protocol)
    assert [number for number, e in enumerate(protocol, 1) if e.tested] == [90, 100]
    assert [number for number, e in enumerate(dd_ranking_protocol(7, 0.1), 1) if e.tested] == [7]


@pytest.mark.parametrize(
    ("epochs", "tests"), [(3000, [300, 600, 1000, 3000]), (700, [300, 600, 700]), (5, [5])]
)
def test_rat_bptt_tests_after_four_lengths_and_the_last(epochs, tests):
    protocol = list(rat_bptt_protocol(epochs, 0.001))
    assert {epoch.optimiser.lr for epoch in protocol} == {0.001}
    assert [number for number, epoch in enumerate(protocol, 1) if epoch.tested] == tests


def test_frepo_warms_up_and_falls_to_a_hundredth():
    protocol = list(frepo_protocol(2000, 3e-4))
    rates = [epoch.optimiser.lr / 3e-4 for epoch in protocol]
    assert rates[:501] == pytest.approx([epoch / 500 for epoch in range(501)])
    # Half of the cosine lies in the middle of what is left.
    assert rates[1250] == pytest.approx(0.01 + 0.99 / 2)
    assert rates[-1] == pytest.approx(0.01, abs=1e-4)
    assert [number for number, epoch in enumerate(protocol, 1) if epoch.tested] == [2000]
    # Ten steps an epoch: the warm-up of 500 steps ends after 50 epochs.
    assert [e.optimiser.lr for e in frepo_protocol(400, 1.0, steps=10)].index(1.0) == 50
    assert [e.optimiser.lr for e in frepo_protocol(4, 1.0)][:3] == pytest.approx([0, 0.5, 1])


def test_frepo_trains_as_torch_by_adam_on_the_squared_error(problem):
    labels = regression_labels(problem.labels, 3).double()
    theta, _ = train_network(
        NetworkTraining(
            frepo_protocol(6, 0.01), 256, (), lambda theta: MeasuredAccuracy(1.0, None)
        ),
        loss_gradient(problem.net, half_squared_error),
        problem.start,
        TrainingSet(problem.images, labels, 0.01),
        torch.Generator().manual_seed(0),
    )
    adam = torch.optim.Adam(problem.module.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for epoch in frepo_protocol(6, 0.01):
        adam.param_groups[0]["lr"] = epoch.optimiser.lr
        order = torch.randperm(6, generator=generator)
        adam.zero_grad()
        error = problem.module(problem.images[order]) - labels[order]
        (error.square().sum(1) / 2).mean().backward()
        adam.step()
    expected = torch.cat([p.detach().flatten() for p in problem.module.parameters()])
    # The bias before the norm has a gradient of rounding alone, which Adam's root enlarges.
    torch.testing.assert_close(theta, expected, rtol=1e-8, atol=1e-9)


def trained(problem, recipe, tests):
    training = TrainingSet(problem.images, problem.labels, 0.1)
    calls, left = [], (MeasuredAccuracy(accuracy, None) for accuracy in tests)
    generator = torch.Generator().manual_seed(0)
    theta, best = train_network(
        NetworkTraining(recipe, 256, (), lambda theta: next(left), calls.append),
        cross_entropy_gradient(problem.net),
        problem.start,
        training,
        generator,
    )
    assert calls == [0, 1, 2, 3, 4, 5]
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


def test_ast_trains_as_torch_with_a_new_optimiser_in_the_second_half(problem):
    def change(epoch, parameters, sgd):
        if epoch == 0:
            return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3)
        if epoch == 4:
            return torch.optim.SGD(parameters, lr=0.05, momentum=0.8, weight_decay=1e-3)
        return sgd

    ours, _ = trained(problem, ast_protocol(6, 0.1), [70.0])
    torch.testing.assert_close(ours, by_torch(problem, change), rtol=1e-12, atol=1e-12)


def test_dd_ranking_trains_as_torch_with_its_step_schedule(problem):
    def change(epoch, parameters, sgd):
        if epoch == 0:
            return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4)
        if epoch == 3:
            sgd.param_groups[0].update(lr=0.01)
        return sgd

    ours, _ = trained(problem, dd_ranking_protocol(6, 0.1), [70.0])
    torch.testing.assert_close(ours, by_torch(problem, change), rtol=1e-12, atol=1e-12)


def test_best_of_the_tests_counts(problem):
    every = [epoch.__class__(epoch.optimiser, tested=True) for epoch in mtt_protocol(6, 0.1)]
    _, accuracy = trained(problem, every, [50.0, 90.0, 60.0, 10.0, 20.0, 30.0])
    assert accuracy == 90.0


def test_held_out_images_choose_among_tests_if_there_are_any():
    tests = [MeasuredAccuracy(90.0, 50.0), MeasuredAccuracy(70.0, 60.0)]
    assert best_of(tests) == tests[1]
    assert best_of([MeasuredAccuracy(t.accuracy, None) for t in tests]).accuracy == 90.0
