"""The direction that an expert's training goes against: plain, smoothed, sharpness-aware."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.spec.experts import Experts, GradientPenalty, Gsam
from ddspec.engine.networks.flat_network import Forward
from ddspec.engine.training.epoch import (
    GradientFn,
    LossGradient,
    TrainingBatch,
    cross_entropy_gradient,
)
from ddspec.engine.training.expert_smoothing import clipped_loss_weight, gradient_penalty
from ddspec.engine.training.gsam import gsam_gradient


def cross_entropy_weight(experts: Experts, epoch: int) -> float:
    """Weight of the cross-entropy in an epoch, counted from 0."""
    clipped = experts.smoothing.clipped_loss
    return clipped_loss_weight(epoch, clipped.start, clipped.epochs) if clipped else 1.0


def expert_gradient_fn(forward: Forward, experts: Experts, weight: float) -> GradientFn:
    """What the settings of [experts] make of the gradient, at a weight of the cross-entropy."""
    clipped, penalty = experts.smoothing.clipped_loss, experts.smoothing.gradient_penalty
    if clipped is None and penalty is None:
        slope = cross_entropy_gradient(forward)
    else:
        slope = smoothed_gradient(forward, weight, penalty)
    match experts.optimizer:
        case Gsam(rho=rho, alpha=alpha):
            return gsam_gradient_fn(slope, rho, alpha)
        case _:
            return slope


def smoothed_gradient(
    forward: Forward, weight: float, penalty: GradientPenalty | None
) -> GradientFn:
    """Of weight * cross-entropy + penalty.weight * gradient penalty (AST, arXiv:2310.10541).

    The loss that is reported is the cross-entropy itself.
    """

    def slope(theta: Tensor, batch: TrainingBatch) -> LossGradient:
        theta = theta.detach().requires_grad_()
        logits = forward(theta, batch.images)
        loss = F.cross_entropy(logits, batch.labels)
        objective = weight * loss
        if penalty is not None and penalty.weight > 0:
            objective = objective + penalty.weight * gradient_penalty(
                lambda images: forward(theta, images),
                batch.images if penalty.input == "augmented" else batch.clean,
                penalty.target,
                penalty.norm,
                penalty.sides,
            )
        (found,) = torch.autograd.grad(objective, theta)
        return LossGradient(found, loss.detach(), logits.detach())

    return slope


def gsam_gradient_fn(slope_of: GradientFn, rho: float, alpha: float) -> GradientFn:
    """GSAM's direction from a slope taken twice on the same augmented batch."""

    def slope(theta: Tensor, batch: TrainingBatch) -> LossGradient:
        clean = slope_of(theta, batch)
        found = gsam_gradient(
            lambda elsewhere: slope_of(elsewhere, batch).gradient,
            theta,
            clean.gradient,
            rho,
            alpha,
        )
        return LossGradient(found, clean.loss, clean.logits)

    return slope
