"""Performance: the exact gradient of a trained student's loss on real images, in float64."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ddspec.dsl.spec.synthetic import LearnedLabels, UnnormalizedLabels
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.stages.objectives.performance import (
    PerformanceDraws,
    drawn_free_steps,
    mean_loss,
)
from ddspec.engine.training.epoch import cross_entropy_gradient
from ddspec.engine.training.optimisers import OptimiserState
from tests.engine.stages.objectives.test_class_objectives import measured, prepared

ADAM = "student_lr=0.01, student_optimizer={name='adam', beta2=0.9}"
SGD = "student_lr=0.05, student_optimizer={name='sgd', momentum=0.5}"


def performance(student: str = SGD, more: str = "") -> str:
    """Three free steps at most, and a window of four."""
    return (
        "matching={objective='performance', window=4, free_steps={most=3, "
        f"drawn='per_iteration'}}, real_images=300, {student}{more}}}"
    )


def whole(pieces):
    """The images and labels of all pieces."""
    images, labels = zip(*((piece.images, piece.labels) for piece in pieces), strict=True)
    return torch.cat(images), torch.cat(labels)


def by_torch(step, context, state, iteration):
    """The loss and its gradient by the images, with torch's formulas and all graphs kept."""
    matching = step.matching
    draws = PerformanceDraws(step, context, iteration, matching)
    net, free = context.network(step.network), draws.free_steps()
    images = state.images.value.clone().requires_grad_()
    inputs = draws.step_inputs(state.labels, free + matching.window)
    theta = draws.fresh_network().requires_grad_()
    first = second = torch.zeros_like(theta)
    for number in range(free + matching.window):
        shown, targets = inputs(number, [images if number >= free else images.detach()])
        loss = F.cross_entropy(net(theta, shown), targets)
        (g,) = torch.autograd.grad(loss, theta, create_graph=True)
        student = matching.student_optimizer
        if student.name == "sgd":
            first = student.momentum * first + g
            theta = theta - matching.student_lr * first
        else:
            first = student.beta1 * first + (1 - student.beta1) * g
            second = student.beta2 * second + (1 - student.beta2) * g**2
            c1, c2 = (1 - beta ** (number + 1) for beta in (student.beta1, student.beta2))
            theta = theta - matching.student_lr * (first / c1) / (
                (second / c2).sqrt() + student.epsilon
            )
        if number < free:
            theta = theta.detach().requires_grad_()
            first, second = first.detach(), second.detach()
    images_of_pass, labels_of_pass = whole(draws.real_pieces())
    loss = F.cross_entropy(net(theta, images_of_pass), labels_of_pass)
    return loss.detach(), torch.autograd.grad(loss, images)[0], free


@pytest.mark.parametrize("student", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("route", [{}, {"student_graph": "recomputed", "keep_every": 3}])
def test_gradient_is_that_through_all_kept_graphs(student, route, plan, context):
    """In iterations with and without free steps, which have no derivative."""
    step, wide, state = prepared(plan, context, performance(student), "synthetic.ipc=2")
    step = step.model_copy(update={"route": step.route.model_copy(update=route)})
    seen = set()
    for iteration in range(4):
        loss, by_images, free = by_torch(step, wide, state, iteration)
        found = measured(step, wide, replace(state, iteration=iteration))
        assert found.loss == pytest.approx(float(loss), rel=1e-12)
        assert found.figures["free_steps"] == free
        scale = by_images.abs().max()
        torch.testing.assert_close(
            found.gradient().by_images / scale, by_images / scale, rtol=0, atol=1e-10
        )
        seen.add(free)
    assert 0 in seen and len(seen) > 1


LABELS = {
    "learned": LearnedLabels(name="learned", lr=1.0),
    "unnormalized": UnnormalizedLabels(name="unnormalized", lr=1.0),
}


@pytest.mark.parametrize("name", LABELS)
def test_learned_labels_get_their_gradient(name, plan, context):
    # Free steps move the student too, but have no derivative.
    step, wide, state = prepared(plan, context, performance().replace("most=3", "most=0"))
    synthetic = step.synthetic.model_copy(update={"labels": LABELS[name]})
    step = step.model_copy(update={"synthetic": synthetic})
    values = torch.full((len(state.labels), 10), 0.1, dtype=torch.float64)
    learning = replace(state, learned_labels=OptimiserState.without_memory(values))
    by_labels = measured(step, wide, learning).gradient().by_labels
    assert by_labels.abs().sum() > 0
    moved = values.clone()
    moved[3, 5] += 1e-5
    nudged = replace(learning, learned_labels=OptimiserState.without_memory(moved))
    slope = (measured(step, wide, nudged).loss - measured(step, wide, learning).loss) / 1e-5
    assert slope == pytest.approx(float(by_labels[3, 5]), rel=1e-3)


def test_every_real_image_is_seen_once_in_a_pass(plan, context):
    step, wide, _ = prepared(plan, context, performance(), "augmentation.families=[]")
    images = wide.data.train_images
    passes = [divmod(iteration, 5) for iteration in range(10)]
    assert len(images) == 1347
    for number in range(2):
        batches = [
            whole(PerformanceDraws(step, wide, iteration, step.matching).real_pieces())[0]
            for iteration, (of, _) in enumerate(passes)
            if of == number
        ]
        assert [len(batch) for batch in batches] == [300, 300, 300, 300, 147]
        seen = torch.cat(batches).flatten(1).sum(1)
        torch.testing.assert_close(seen.sort().values, images.flatten(1).sum(1).sort().values)


def test_free_steps_are_drawn_once_a_pass_or_anew(plan, context):
    step, wide, _ = prepared(plan, context, performance().replace("per_iteration", "per_pass"))
    draws = [PerformanceDraws(step, wide, i, step.matching).free_steps() for i in range(50)]
    assert all(len(set(draws[first : first + 5])) == 1 for first in range(0, 50, 5))
    assert set(draws) == {0, 1, 2, 3}
    free = step.matching.free_steps.model_copy(update={"drawn": "per_iteration"})
    assert len({drawn_free_steps(free, 0, i, 0) for i in range(50)}) == 4


def test_student_step_has_so_many_images_of_each_class(plan, context):
    asked = (performance(more=", syn_per_class=2"), "synthetic.ipc=3")
    step, wide, _ = prepared(plan, context, *asked)
    draws = PerformanceDraws(step, wide, 0, step.matching)
    batches = [draws.student_batch(random_stream(0, "test", i)) for i in range(8)]
    for batch in batches:
        assert (batch // 3).tolist() == [label for label in range(10) for _ in range(2)]
        assert len(set(batch.tolist())) == 20
    assert len({tuple(batch.tolist()) for batch in batches}) == 8


def test_loss_on_many_images_is_their_mean(plan, context):
    """Taken in pieces, of which the last is smaller."""
    step, wide, _ = prepared(plan, context, performance())
    draws = PerformanceDraws(step, wide, 0, step.matching)
    net, theta = wide.network(step.network), draws.fresh_network()
    loss, gradient = mean_loss(cross_entropy_gradient(net), theta, draws.real_pieces())
    pieces = list(draws.real_pieces())
    assert [len(piece.images) for piece in pieces] == [256, 44]
    images, labels = whole(pieces)
    leaf = theta.clone().requires_grad_()
    expected = F.cross_entropy(net(leaf, images), labels)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(expected, leaf)[0], rtol=1e-10, atol=1e-12
    )
