"""How far the student ended from where the expert went."""

import torch
from jaxtyping import Float
from torch import Tensor


def normalized_l2(
    student: Float[Tensor, " p"], target: Float[Tensor, " p"], start: Float[Tensor, " p"]
) -> Float[Tensor, ""]:
    """Squared distance to the target, in units of the distance the expert travelled.

        || student - target ||^2  /  || start - target ||^2

    The loss of MTT (arXiv:2203.11932): `start` is theta*_t, `target` theta*_{t+M}, `student` the
    parameters after N steps. One means that the student might as well have stood still, zero
    that N steps on the synthetic set replaced M epochs on the real one.
    """
    return (student - target).square().sum() / (start - target).square().sum()


def loss_and_gradient(
    student: Float[Tensor, " p"], target: Float[Tensor, " p"], start: Float[Tensor, " p"]
) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
    """The matching loss and its gradient by the student's parameters."""
    student = student.detach().requires_grad_()
    loss = normalized_l2(student, target, start)
    (gradient,) = torch.autograd.grad(loss, student)
    return loss.detach(), gradient
