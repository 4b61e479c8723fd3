"""AST's experts: the weight of the loss by epoch, and the penalty against a plain loop."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.dsl.spec.experts import ClippedLoss, Experts, GradientPenalty, Gsam, Smoothing
from ddspec.engine.training.epoch import TrainingBatch, cross_entropy_gradient
from ddspec.engine.training.expert_gradient import cross_entropy_weight, expert_gradient_fn
from ddspec.engine.training.expert_smoothing import clipped_loss_weight, gradient_penalty
from ddspec.engine.training.gsam import adaptive_ascent, orthogonal_part


@pytest.fixture
def batch(problem):
    return TrainingBatch(problem.images, 1.5 * problem.images.flip(3), problem.labels)


def test_weights_of_both_readings():
    """The paper: 0.5 to 0.9 over 5 epochs, then 1; its public code: 0.50 to 0.95 over 10."""
    paper = [clipped_loss_weight(epoch, 0.5, 5) for epoch in range(7)]
    assert paper == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1, 1])
    code = [clipped_loss_weight(epoch, 0.5, 10) for epoch in (0, 1, 9, 10)]
    assert code == pytest.approx([0.5, 0.55, 0.95, 1])


def slope_of_image(problem, image):
    """d (sum of logits) / d image, one image at a time."""
    image = image[None].clone().requires_grad_()
    (slope,) = torch.autograd.grad(problem.net(problem.start, image).sum(), image)
    return slope[0]


@pytest.mark.parametrize("sides", ["both", "above"])
@pytest.mark.parametrize("norm", ["sample", "pixel"])
def test_penalty_is_a_mean_over_single_images(problem, norm, sides):
    images, target = problem.images, 0.2
    values = []
    for image in images:
        slope = slope_of_image(problem, image)
        lengths = (slope**2).sum().sqrt() if norm == "sample" else (slope**2).sum(0).sqrt()
        excess = lengths - target
        values.append(((excess if sides == "both" else excess.clamp(min=0)) ** 2).mean())
    penalty = gradient_penalty(lambda x: problem.net(problem.start, x), images, target, norm, sides)
    torch.testing.assert_close(penalty, torch.stack(values).mean(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("norm", ["sample", "pixel"])
def test_penalty_has_its_derivative_by_the_parameters(problem, norm):
    def penalty(theta):
        return gradient_penalty(lambda x: problem.net(theta, x), problem.images, 0.2, norm, "both")

    assert torch.autograd.gradcheck(penalty, problem.start.clone().requires_grad_())


@pytest.mark.parametrize("norm", ["sample", "pixel"])
def test_penalty_of_a_network_without_slope_is_finite_with_its_gradient(norm):
    theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    images = torch.ones(2, 1, 2, 2, dtype=torch.float64)
    value = gradient_penalty(
        lambda x: (x.mean((1, 2, 3)) * theta[0])[:, None], images, 1.0, norm, "both"
    )
    (slope,) = torch.autograd.grad(value, theta)
    assert value == 1.0
    assert torch.isfinite(slope).all()


def test_weight_of_an_epoch_follows_the_clipped_loss():
    experts = Experts(smoothing=Smoothing(clipped_loss=ClippedLoss()))
    assert [cross_entropy_weight(experts, epoch) for epoch in (0, 1, 5)] == [0.5, 0.6, 1.0]
    assert cross_entropy_weight(Experts(), 0) == 1.0


def test_smoothed_slope_is_that_of_the_weighted_sum(problem, batch):
    penalty = GradientPenalty(weight=2.0, norm="pixel", input="clean")
    smoothing = Smoothing(clipped_loss=ClippedLoss(), gradient_penalty=penalty)
    gradient = expert_gradient_fn(problem.net, Experts(smoothing=smoothing), 0.6)(
        problem.start, batch
    )

    theta = problem.start.clone().requires_grad_()
    loss = F.cross_entropy(problem.net(theta, batch.images), batch.labels)
    clean = batch.clean.clone().requires_grad_()
    (slope,) = torch.autograd.grad(problem.net(theta, clean).sum(), clean, create_graph=True)
    objective = 0.6 * loss + 2.0 * ((slope.norm(dim=1) - 1) ** 2).mean()
    (expected,) = torch.autograd.grad(objective, theta)
    torch.testing.assert_close(gradient.gradient, expected, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(gradient.loss, loss.detach())


def test_factor_one_and_weight_zero_are_the_plain_expert_bit_by_bit(problem, batch):
    plain = cross_entropy_gradient(problem.net)(problem.start, batch)
    nothing = Smoothing(
        clipped_loss=ClippedLoss(start=1.0), gradient_penalty=GradientPenalty(weight=0.0)
    )
    experts = Experts(smoothing=nothing)
    assert cross_entropy_weight(experts, 0) == 1.0
    gradient = expert_gradient_fn(problem.net, experts, 1.0)(problem.start, batch)
    assert torch.equal(gradient.gradient, plain.gradient)
    assert torch.equal(gradient.loss, plain.loss)


def gsam(rho, alpha):
    return Experts(optimizer=Gsam(name="gsam", rho=rho, alpha=alpha))


def test_gsam_is_its_formula_written_out(problem, batch):
    """FTD: adaptive ascent, then the gradient there less alpha times the orthogonal part."""
    rho, alpha = 0.3, 0.7
    result = expert_gradient_fn(problem.net, gsam(rho, alpha), 1.0)(problem.start, batch)

    def gradient(theta):
        theta = theta.clone().requires_grad_()
        loss = F.cross_entropy(problem.net(theta, batch.images), batch.labels)
        return torch.autograd.grad(loss, theta)[0]

    p, g = problem.start, gradient(problem.start)
    scale = torch.sqrt(((p.abs() * g) ** 2).sum()) + 1e-12
    up = gradient(p + rho * p**2 * g / scale)
    parallel = (g * up).sum() / (up * up).sum() * up
    torch.testing.assert_close(result.gradient, up - alpha * (g - parallel), rtol=1e-9, atol=1e-12)


def test_gsam_without_radius_and_weight_is_plain_descent(problem, batch):
    plain = cross_entropy_gradient(problem.net)(problem.start, batch)
    gradient = expert_gradient_fn(problem.net, gsam(0.0, 0.0), 1.0)(problem.start, batch)
    assert torch.equal(gradient.gradient, plain.gradient)


def test_orthogonal_part_and_ascent_keep_their_geometry(problem):
    a, b = torch.sin(torch.arange(5.0)).double(), torch.cos(torch.arange(5.0)).double()
    assert abs(orthogonal_part(a, b) @ b) < 1e-10
    assert orthogonal_part(b, b).norm() < 1e-10
    step = adaptive_ascent(a, b, 0.5)
    # || step / theta || is rho: the ascent measures itself in units of the parameters.
    assert (step[1:] / a[1:]).norm().item() == pytest.approx(0.5)
