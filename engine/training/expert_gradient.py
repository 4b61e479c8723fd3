"""The gradient of an expert's loss: plain, smoothed, or sharpness-aware."""

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
    """Return the weight of the cross-entropy in an epoch, counted from 0."""
    clipped = experts.smoothing.clipped_loss
    return clipped_loss_weight(epoch, clipped.start, clipped.epochs) if clipped else 1.0


def expert_gradient_fn(forward: Forward, experts: Experts, weight: float) -> GradientFn:
    """Return the gradient function of [experts] for one weight of the cross-entropy."""
    clipped, penalty = experts.smoothing.clipped_loss, experts.smoothing.gradient_penalty
    if clipped is None and penalty is None:
        gradient_fn = cross_entropy_gradient(forward)
    else:
        gradient_fn = smoothed_gradient(forward, weight, penalty)
    match experts.optimizer:
        case Gsam(rho=rho, alpha=alpha):
            return gsam_gradient_fn(gradient_fn, rho, alpha)
        case _:
            return gradient_fn


def smoothed_gradient(
    forward: Forward, weight: float, penalty: GradientPenalty | None
) -> GradientFn:
    """Return the gradient function of AST's smoothed loss (arXiv:2310.10541).

        weight * cross-entropy + penalty.weight * gradient penalty

    The loss that it reports is the cross-entropy alone.
    """

    def gradient_at(theta: Tensor, batch: TrainingBatch) -> LossGradient:
        theta = theta.detach().requires_grad_()
        logits = forward(theta, batch.images)
        loss = F.cross_entropy(logits, batch.labels)
        # Eq. 19's weight applies to the cross-entropy; the penalty has its own.
        objective = weight * loss
        if penalty is not None and penalty.weight > 0:
            objective = objective + penalty.weight * gradient_penalty(
                lambda images: forward(theta, images),
                batch.images if penalty.input == "augmented" else batch.clean,
                penalty.target,
                penalty.norm,
                penalty.sides,
            )
        (gradient,) = torch.autograd.grad(objective, theta)
        return LossGradient(gradient, loss.detach(), logits.detach())

    return gradient_at


def gsam_gradient_fn(gradient_fn: GradientFn, rho: float, alpha: float) -> GradientFn:
    """Return GSAM's gradient function, which evaluates another one twice on each batch."""

    def gradient_at(theta: Tensor, batch: TrainingBatch) -> LossGradient:
        clean = gradient_fn(theta, batch)
        # Both evaluations see the same augmented images, as in FTD's code.
        gradient = gsam_gradient(
            lambda ascended: gradient_fn(ascended, batch).gradient,
            theta,
            clean.gradient,
            rho,
            alpha,
        )
        return LossGradient(gradient, clean.loss, clean.logits)

    return gradient_at
