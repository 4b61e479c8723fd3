"""The student is torch's SGD; the adjoint is the derivative of the whole walk, in float64."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.engine.augment import augment, draw
from ddspec.engine.matching import loss_and_gradient, normalized_l2
from ddspec.engine.unroll import adjoint, unroll

RATE = torch.tensor(0.3, dtype=torch.float64)
STEPS = 5
FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate")


def student_loss(problem, family=None):
    """A batch of four per step, augmented by one family where one is named."""
    generator = torch.Generator().manual_seed(3)
    batches = [torch.randperm(6, generator=generator)[:4] for _ in range(STEPS)]
    draws = [draw([family] if family else [], 4, generator) for _ in range(STEPS)]

    def loss(step, theta, images):
        batch = batches[step]
        logits = problem.net(theta, augment(images[batch], draws[step]))
        return F.cross_entropy(logits, problem.labels[batch])

    return loss, batches


def outer_by_autograd(problem, loss, images, rate, target, steps=STEPS):
    """The matching loss through N kept graphs, as the field computes it: the witness."""
    theta = problem.start.clone().requires_grad_()
    start = theta
    for step in range(steps):
        (gradient,) = torch.autograd.grad(loss(step, theta, images), theta, create_graph=True)
        theta = theta - rate * gradient
    return normalized_l2(theta, target, start.detach())


def outer_by_adjoint(problem, loss, images, rate, target, steps=STEPS):
    path = unroll(loss, problem.start, images, rate, steps)
    _, cotangent = loss_and_gradient(path[-1], target, problem.start)
    return adjoint(loss, path, images, rate, cotangent)


@pytest.fixture
def target(problem):
    return problem.start + 0.1 * torch.sin(torch.arange(len(problem.start), dtype=torch.float64))


def test_student_ends_where_torch_sgd_ends(problem):
    loss, batches = student_loss(problem)

    path = unroll(loss, problem.start, problem.images, RATE, STEPS)

    sgd = torch.optim.SGD(problem.module.parameters(), lr=RATE.item())
    for batch in batches:
        sgd.zero_grad()
        F.cross_entropy(problem.module(problem.images[batch]), problem.labels[batch]).backward()
        sgd.step()
    ended = torch.cat([p.detach().flatten() for p in problem.module.parameters()])
    torch.testing.assert_close(path[-1], ended, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", [None, *FAMILIES])
def test_adjoint_is_the_gradient_through_all_kept_graphs(problem, target, family):
    loss, _ = student_loss(problem, family)
    images, rate = problem.images.clone().requires_grad_(), RATE.clone().requires_grad_()
    outer = outer_by_autograd(problem, loss, images, rate, target)
    by_images, by_rate = torch.autograd.grad(outer, (images, rate))

    ours = outer_by_adjoint(problem, loss, problem.images, RATE, target)

    torch.testing.assert_close(ours[0], by_images, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours[1], by_rate, rtol=1e-10, atol=1e-12)


def test_adjoint_passes_gradcheck(problem, target):
    loss, _ = student_loss(problem)

    class Outer(torch.autograd.Function):
        @staticmethod
        def forward(ctx, images, rate):
            ctx.save_for_backward(images, rate)
            with torch.enable_grad():
                path = unroll(loss, problem.start, images, rate, STEPS)
            return normalized_l2(path[-1], target, problem.start)

        @staticmethod
        def backward(ctx, *gradients):
            images, rate = ctx.saved_tensors
            with torch.enable_grad():
                by_images, by_rate = outer_by_adjoint(problem, loss, images, rate, target)
            return gradients[0] * by_images, gradients[0] * by_rate

    inputs = (problem.images.clone().requires_grad_(), RATE.clone().requires_grad_())
    assert torch.autograd.gradcheck(Outer.apply, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)


def test_dropping_the_hessian_terms_is_not_the_gradient(problem, target):
    """Guards the witness: a wrong adjoint would be seen."""
    loss, _ = student_loss(problem)
    exact, _ = outer_by_adjoint(problem, loss, problem.images, RATE, target)
    path = unroll(loss, problem.start, problem.images, RATE, STEPS)
    _, v = loss_and_gradient(path[-1], target, problem.start)
    dropped = torch.zeros_like(problem.images)
    for step in range(STEPS):
        one = adjoint(
            lambda _, theta, images, step=step: loss(step, theta, images),
            [path[step], path[step + 1]],
            problem.images,
            RATE,
            v,
        )[0]
        dropped = dropped + one
    assert (exact - dropped).norm() > 1e-3 * exact.norm()


def test_matching_loss_is_zero_at_the_target_and_one_at_the_start(problem, target):
    assert normalized_l2(target, target, problem.start) == 0
    assert normalized_l2(problem.start, target, problem.start) == 1


def test_memory_of_the_adjoint_is_one_graph(problem, target):
    """Saved tensors alive at once do not grow with the number of steps."""
    loss, _ = student_loss(problem)
    peaks = []
    for steps in (1, STEPS):
        alive, peak = 0, 0

        class Held:
            def __init__(self, tensor):
                nonlocal alive, peak
                self.tensor = tensor
                alive += 1
                peak = max(peak, alive)

            def __del__(self):
                nonlocal alive
                alive -= 1

        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            outer_by_adjoint(problem, loss, problem.images, RATE, target, steps)
        peaks.append(peak)
    assert peaks[0] == peaks[1]
