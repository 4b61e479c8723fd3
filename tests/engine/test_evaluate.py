"""MTT's evaluation recipe against torch's own optimiser, schedule and all."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.engine.evaluate import TrainingSet, train_mtt


@pytest.mark.parametrize(("epochs", "full"), [(1001, 502), (1000, 501), (5, 4), (1, 2)])
def test_full_rate_runs_as_long_as_in_the_public_code(epochs, full):
    """1,001 epochs: 502 at the full rate, 499 at a tenth."""
    assert (epochs - 1) // 2 + 2 == full


def test_recipe_is_torch_sgd_with_a_fresh_optimiser_after_the_drop(problem):
    training = TrainingSet(problem.images, problem.labels, 0.1)
    calls = []
    generator = torch.Generator().manual_seed(0)
    ours = train_mtt(
        problem.start, training, problem.net, 6, (), generator, lambda: calls.append(1)
    )

    generator = torch.Generator().manual_seed(0)
    parameters = list(problem.module.parameters())
    sgd = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4)
    for epoch in range(6):
        if epoch == 4:
            sgd = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
        order = torch.randperm(6, generator=generator)
        sgd.zero_grad()
        F.cross_entropy(problem.module(problem.images[order]), problem.labels[order]).backward()
        sgd.step()
    expected = torch.cat([p.detach().flatten() for p in parameters])
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    assert len(calls) == 6
