"""Students that are trained by Adam: its steps are torch's, its adjoint is exact in float64."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.engine.matching.student_optimisers import AdamSteps, StudentState
from ddspec.engine.matching.unroll import InnerLoss, Student, StudentDescent, adjoint, unroll
from ddspec.engine.training.augmentation import augment, draw_augmentation

RATE = torch.tensor(0.05, dtype=torch.float64)
STEPS, FREE = 5, 3
BETAS = (0.8, 0.9)
EPSILON = 1e-4


@pytest.fixture
def loss(problem):
    """All images in every step, augmented anew, with labels that are learned as well."""
    generator = torch.Generator().manual_seed(5)
    draws = [draw_augmentation(["flip", "rotate"], 6, generator) for _ in range(STEPS + FREE)]

    def inputs(step, learned):
        images, logits = learned
        return augment(images, draws[step]), logits.softmax(1)

    student = Student(lambda theta, x, y: F.cross_entropy(problem.net(theta, x), y))
    return InnerLoss(student, inputs)


@pytest.fixture
def learned(problem):
    logits = 2.0 * F.one_hot(problem.labels, 3).double()
    return [problem.images.clone().requires_grad_(), logits.requires_grad_()]


def adam(taken: int = 0) -> AdamSteps:
    return AdamSteps(RATE, *BETAS, EPSILON, taken)


def trained_by_torch(problem, loss, learned, steps):
    module = problem.module
    optimiser = torch.optim.Adam(module.parameters(), lr=float(RATE), betas=BETAS, eps=EPSILON)
    for step in range(steps):
        optimiser.zero_grad()
        images, targets = loss.step_inputs(step, learned)
        F.cross_entropy(module(images), targets).backward()
        optimiser.step()
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def witness(problem, loss, learned, rate, cotangent, goals):
    """The product of the cotangents and the student's path, through all kept graphs."""
    theta = problem.start.clone().requires_grad_()
    mean = square = torch.zeros_like(theta)
    outer = torch.zeros((), dtype=torch.float64)
    for step in range(FREE + STEPS):
        (gradient,) = torch.autograd.grad(loss(step, theta, learned), theta, create_graph=True)
        if step < FREE:
            gradient = gradient.detach()
        mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
        square = BETAS[1] * square + (1 - BETAS[1]) * gradient**2
        corrected = [m / (1 - b ** (step + 1)) for m, b in zip((mean, square), BETAS, strict=True)]
        used = rate.detach() if step < FREE else rate
        theta = theta - used * corrected[0] / (corrected[1].sqrt() + EPSILON)
        if step < FREE:
            theta = theta.detach().requires_grad_()
        if step + 1 - FREE in goals:
            outer = outer + cotangent @ theta
    return outer


def test_steps_are_those_of_torch(problem, loss, learned):
    unrolled = unroll(loss, StudentState(problem.start), learned, StudentDescent(adam(), STEPS))
    ended = trained_by_torch(problem, loss, learned, STEPS)
    torch.testing.assert_close(unrolled.path[-1], ended, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("goals", [(STEPS,), (2, STEPS)])
@pytest.mark.parametrize(
    "options", [{}, {"keep_graphs": True}, {"keep_every": 2}, {"keep_every": 4}]
)
def test_adjoint_is_the_gradient_through_all_kept_graphs(problem, loss, learned, goals, options):
    """The first steps are free: they have no derivative, but leave their running means."""
    cotangent = torch.cos(torch.arange(len(problem.start), dtype=torch.float64))
    rate = RATE.clone().requires_grad_()
    outer = witness(problem, loss, learned, rate, cotangent, goals)
    *by_learned, by_rate = torch.autograd.grad(outer, (*learned, rate))

    free = unroll(loss, StudentState(problem.start), learned, StudentDescent(adam(), FREE))
    window = InnerLoss(loss.student, lambda step, held: loss.step_inputs(FREE + step, held))
    descent = StudentDescent(adam(FREE), STEPS, **options)
    unrolled = unroll(window, free.path.latest, learned, descent)
    ours, our_rate = adjoint(window, unrolled, learned, dict.fromkeys(goals, cotangent))

    for gradient, expected in zip(ours, by_learned, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(our_rate, by_rate, rtol=1e-10, atol=1e-12)


def test_segments_give_the_same_bits_as_all_states(problem, loss, learned):
    cotangent = torch.ones_like(problem.start)
    found = []
    for every in (1, 2, 3, STEPS):
        descent = StudentDescent(adam(), STEPS, keep_every=every)
        unrolled = unroll(loss, StudentState(problem.start), learned, descent)
        (by_images, _), _ = adjoint(loss, unrolled, learned, {STEPS: cotangent})
        found.append(by_images)
    assert all(torch.equal(by_images, found[0]) for by_images in found[1:])


def test_parameter_without_gradient_stays_and_adds_nothing(problem):
    """The root of zero has no derivative; a parameter that nothing moves must not bring NaN."""
    at_rest = StudentState(torch.ones(3), (torch.zeros(3), torch.zeros(3)))
    optimiser = AdamSteps(torch.tensor(0.1))
    gradient = torch.tensor([0.0, 1.0, -2.0])
    after = optimiser.step(0, at_rest, gradient)
    assert after.theta[0] == 1
    found = optimiser.cotangent(0, lambda: after, torch.ones(3), ())
    assert all(vector.isfinite().all() for vector in (*found.vectors, *found.memory))
    assert found.per_gradient is not None and found.per_gradient[0] == 0
