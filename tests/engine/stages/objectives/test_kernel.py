"""Kernel regression: the exact gradient through the regression, and the pool of networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ddspec.engine.control import Control, Interrupted
from ddspec.engine.stages.distill import distill
from ddspec.engine.stages.distill_state import latest_state
from ddspec.engine.stages.initialise import initialise
from ddspec.engine.stages.objectives.by_name import open_objective
from ddspec.engine.stages.objectives.kernel import KernelDraws, first_pool
from ddspec.engine.store.store import Store
from ddspec.engine.training.epoch import loss_gradient
from ddspec.engine.training.optimisers import OptimiserState
from ddspec.engine.training.soft_labels import half_squared_error
from tests.engine.stages.objectives.test_class_objectives import measured, prepared
from tests.in_slow_run import first_by_default

TARGETS = (
    "synthetic.labels={name='regression', lr=0.01}",
    "evaluation.protocol='frepo'",
)
LAMB = "synthetic.images={optimizer='lamb', lr=0.01, lr_decay={name='cosine', iterations=8}}"


def kernel(more: str = "") -> str:
    """A pool of three networks that are replaced at an age above four."""
    return (
        "matching={objective='kernel', iterations=12, real_images=60, mirror=false, "
        f"pool={{networks=3, max_steps=4, lr=0.01}}{more}}}"
    )


def wide_state(state):
    """The state with learned labels in float64."""
    learned = state.learned_labels
    values = replace(learned, value=learned.value.double(), velocity=learned.velocity.double())
    return replace(state, learned_labels=values, labels=state.labels.double())


def by_closed_form(step, context, state, mirror):
    """The loss and its gradients, with torch's inverse in place of a factorisation."""
    draws = KernelDraws(step, context, state.iteration, step.matching)
    net, pool = context.network(step.network), first_pool(step, step.matching, context)
    theta = pool[draws.network(len(pool))].parameters.value
    images = state.images.value.clone().requires_grad_()
    labels = state.learned_labels.value.clone().requires_grad_()
    shown = torch.cat([images, images.flip(3)]) if mirror else images
    taught = torch.cat([labels, labels]) if mirror else labels
    real, targets = draws.real()
    f_t, f_s = net.features(theta, real), net.features(theta, shown)
    gram = f_s @ f_s.T
    n = len(gram)
    gram = gram + step.matching.ridge * gram.trace() / n * torch.eye(n, dtype=gram.dtype)
    predicted = f_t @ f_s.T @ torch.linalg.inv(gram) @ taught
    top = labels.sort(dim=1, descending=True).values
    margin = torch.minimum(top[:, 0] - top[:, 1], torch.tensor(0.1)).mean()
    error = 0.5 * ((predicted - targets) ** 2).sum() / len(real)
    return error.detach(), torch.autograd.grad(error - margin, [images, labels])


@pytest.mark.parametrize("mirror", [False, True])
def test_gradient_is_that_of_the_closed_form(mirror, plan, context):
    matching = kernel(", ridge=0.01").replace("mirror=false", f"mirror={str(mirror).lower()}")
    step, wide, state = prepared(plan, context, matching, *TARGETS)
    state = wide_state(state)
    # Labels near a tie, where the margin has a gradient.
    values = state.learned_labels.value.clone()
    values[:, 0] = values.max(1).values - 0.05
    state = replace(state, learned_labels=replace(state.learned_labels, value=values))
    error, (by_images, by_labels) = by_closed_form(step, wide, state, mirror)
    found = measured(step, wide, state)
    assert found.loss == pytest.approx(float(error), rel=1e-10)
    gradient = found.gradient()
    for mine, expected in ((gradient.by_images, by_images), (gradient.by_labels, by_labels)):
        scale = expected.abs().max()
        torch.testing.assert_close(mine / scale, expected / scale, rtol=0, atol=1e-10)


def test_as_many_synthetic_as_real_images_and_no_ridge_interpolate(plan, context):
    """With the real images as the synthetic ones, the regression makes no error on them."""
    matching = kernel(", ridge=0.0").replace("real_images=60", "real_images=10000")
    asked = (matching, *TARGETS, "dataset.images_per_class=3", "synthetic.ipc=3")
    step, wide, state = prepared(plan, context, *asked)
    few = torch.cat([torch.arange(3) + context.of_class(c).start for c in range(10)])
    data = replace(
        wide.data,
        train_images=wide.data.train_images[few],
        train_labels=wide.data.train_labels[few],
    )
    wide = replace(wide, data=data)
    targets = torch.nn.functional.one_hot(data.train_labels, 10).double() - 0.1
    state = replace(
        wide_state(state),
        images=replace(state.images, value=data.train_images),
        learned_labels=OptimiserState.without_memory(targets),
    )
    found = measured(step, wide, state)
    assert found.loss < 1e-12
    assert found.figures["kernel_accuracy"] == 100


def test_networks_are_replaced_in_turn_after_their_last_step(plan, context):
    step, wide, state = prepared(plan, context, kernel(), *TARGETS)
    state = wide_state(state)
    matching, pool = step.matching, first_pool(step, step.matching, wide)
    assert [network.age for network in pool] == [0, 1, 2]
    gradient_fn = loss_gradient(wide.network(step.network), half_squared_error)
    network, ages = pool[0], []
    for iteration in range(7):
        draws = KernelDraws(step, wide, iteration, matching)
        before = network
        network = draws.next_network(network, state, gradient_fn)
        ages.append(network.age)
        if network.age:
            assert not torch.equal(before.parameters.value, network.parameters.value)
    # An age of 4 is not above 4: a network takes 5 steps, and then makes room.
    assert ages == [1, 2, 3, 4, 5, 0, 1]
    assert network.parameters.steps == 1


def test_pool_is_trained_on_the_set_as_it_has_become(plan, context):
    step, wide, state = prepared(plan, context, kernel(), *TARGETS)
    state = wide_state(state)
    moved = replace(state.images, value=state.images.value + 0.1)

    def update(current, measurement):
        return replace(current, images=moved)

    with open_objective(step, None, wide) as objective:
        end = objective(state, update).state
    draws = KernelDraws(step, wide, 0, step.matching)
    pool = first_pool(step, step.matching, wide)
    chosen = draws.network(len(pool))
    net, theta = wide.network(step.network), pool[chosen].parameters.value.requires_grad_()
    loss = half_squared_error(net(theta, moved.value), state.labels)
    (expected,) = torch.autograd.grad(loss, theta)
    # After its first step, Adam's running mean is a tenth of the gradient.
    torch.testing.assert_close(end.pool[chosen].parameters.velocity, 0.1 * expected)
    others = [network for number, network in enumerate(end.pool) if number != chosen]
    assert all(network.parameters.steps == 0 for network in others)


class StopAfter(Control):
    """A control that stops the loop after some iterations."""

    def __init__(self, iterations: int) -> None:
        super().__init__()
        object.__setattr__(self, "left", [iterations])

    def report(self, progress) -> None:
        self.left[0] -= 1
        if self.left[0] == 0:
            raise Interrupted


def distilled_with(step, initial, context, *controls):
    """The kept sets after runs with these controls, one after another."""
    for control in controls:
        at = replace(context, control=control)
        with open_objective(step, None, at) as objective:
            try:
                distill(step, initial, objective, at)
            except Interrupted:
                continue
    return {
        member.number: context.store.path("synthetic", member.digest).exists()
        for member in step.members
    }


def arrays_of(store, member):
    with store.open("synthetic", member.digest) as file:
        return {name: np.asarray(file[name][()]) for name in file}


@pytest.mark.parametrize("stop", first_by_default([7, 3, 11]))
def test_stopped_run_ends_with_the_same_bytes(stop, plan, context, tmp_path):
    made = plan(*TARGETS, LAMB, kernel(), "synthetic.student_lr={}", "evaluation.lr=0.01")
    whole = replace(context, store=Store(tmp_path / "whole"))
    stopped = replace(context, store=Store(tmp_path / "stopped"))
    for at in (whole, stopped):
        initialise(made.initialise, None, at)
    assert all(distilled_with(made.distill, made.initialise, whole, Control()).values())
    again = distilled_with(made.distill, made.initialise, stopped, StopAfter(stop), Control())
    assert all(again.values())
    for member in made.distill.members:
        expected, found = (arrays_of(at.store, member) for at in (whole, stopped))
        assert set(expected) == set(found) and "pool_parameters" not in found
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_longer_run_goes_on_with_the_networks_that_it_left(plan, context, tmp_path):
    asked = (*TARGETS, LAMB, "synthetic.student_lr={}", "evaluation.lr=0.01")
    short, long = (
        plan(*asked, kernel().replace("iterations=12", f"iterations={count}")) for count in (10, 15)
    )
    stores = [replace(context, store=Store(tmp_path / name)) for name in ("once", "twice")]
    for at in stores:
        initialise(long.initialise, None, at)
    distilled_with(long.distill, long.initialise, stores[0], Control())
    distilled_with(short.distill, short.initialise, stores[1], Control())
    state = latest_state(long.distill, long.initialise, stores[1], at_most=15)
    assert state.iteration == 10 and len(state.pool) == 3
    distilled_with(long.distill, long.initialise, stores[1], Control())
    last = long.distill.members[-1]
    expected, found = (arrays_of(at.store, last) for at in stores)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
