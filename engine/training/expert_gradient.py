"""The direction that an expert's training goes against: plain, smoothed, sharpness-aware."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.spec.experts import Experts, GradientPenalty, Gsam
from ddspec.engine.networks.flat_network import Forward
from ddspec.engine.training.epoch import Batch, Slope, SlopeOf, cross_entropy_slope
from ddspec.engine.training.expert_smoothing import gradient_penalty, loss_weight
from ddspec.engine.training.gsam import gsam_gradient


def weight_in_epoch(experts: Experts, epoch: int) -> float:
    """Weight of the cross-entropy in an epoch, counted from 0."""
    clipped = experts.smoothing.clipped_loss
    return loss_weight(epoch, clipped.start, clipped.epochs) if clipped else 1.0


def expert_slope(forward: Forward, experts: Experts, weight: float) -> SlopeOf:
    """What the settings of [experts] make of the gradient, at a weight of the cross-entropy."""
    clipped, penalty = experts.smoothing.clipped_loss, experts.smoothing.gradient_penalty
    if clipped is None and penalty is None:
        slope = cross_entropy_slope(forward)
    else:
        slope = smoothed_slope(forward, weight, penalty)
    match experts.optimizer:
        case Gsam(rho=rho, alpha=alpha):
            return sharpness_aware(slope, rho, alpha)
        case _:
            return slope


def smoothed_slope(forward: Forward, weight: float, penalty: GradientPenalty | None) -> SlopeOf:
    """Of weight * cross-entropy + penalty.weight * gradient penalty (AST, arXiv:2310.10541).

    The loss that is reported is the cross-entropy itself.
    """

    def slope(theta: Tensor, batch: Batch) -> Slope:
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
        return Slope(found, loss.detach(), logits.detach())

    return slope


def sharpness_aware(slope_of: SlopeOf, rho: float, alpha: float) -> SlopeOf:
    """GSAM's direction from a slope taken twice on the same augmented batch."""

    def slope(theta: Tensor, batch: Batch) -> Slope:
        clean = slope_of(theta, batch)
        found = gsam_gradient(
            lambda elsewhere: slope_of(elsewhere, batch).gradient,
            theta,
            clean.gradient,
            rho,
            alpha,
        )
        return Slope(found, clean.loss, clean.logits)

    return slope
