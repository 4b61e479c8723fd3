"""The inner loop and its exact derivative, in memory that does not grow with a graph.

The student runs N steps of gradient descent keeping only its parameter vectors; the way back is
the adjoint of gradient descent (`adjoint`). It is the gradient of MTT (arXiv:2203.11932), which
there comes from back-propagation through all N steps.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

InnerLoss = Callable[[int, Tensor, Tensor], Tensor]
"""Loss of student step i at parameters theta on the synthetic images (all of them)."""


def unroll(
    loss: InnerLoss,
    start: Float[Tensor, " p"],
    images: Float[Tensor, "n c h w"],
    student_lr: Float[Tensor, ""],
    steps: int,
) -> list[Float[Tensor, " p"]]:
    """The student's parameters before the first step and after each.

    theta_{i+1} = theta_i - student_lr * grad_theta loss(i, theta_i, images)
    """
    path = [start.detach()]
    pixels, rate = images.detach(), student_lr.detach()
    for step in range(steps):
        theta = path[-1].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(step, theta, pixels), theta)
        path.append(theta.detach() - rate * gradient)
    return path


def adjoint(
    loss: InnerLoss,
    path: Sequence[Float[Tensor, " p"]],
    images: Float[Tensor, "n c h w"],
    student_lr: Float[Tensor, ""],
    cotangent: Float[Tensor, " p"],
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, ""]]:
    """Gradient of an outer loss by the images and by student_lr, from its gradient by theta_N.

    From v_N = `cotangent` back over i, with h_i = grad_theta loss(i, theta_i)' v_{i+1}:

        images     -= student_lr * dh_i / dimages
        student_lr -= h_i
        v_i         = v_{i+1} - student_lr * dh_i / dtheta_i

    One double backward per step, and nothing is kept from one step to the next but v.
    """
    images_gradient = torch.zeros_like(images)
    rate_gradient = torch.zeros_like(student_lr)
    rate = student_lr.detach()
    v = cotangent.detach()
    for step in reversed(range(len(path) - 1)):
        theta = path[step].detach().requires_grad_()
        pixels = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(step, theta, pixels), theta, create_graph=True)
        h = gradient @ v
        by_pixels, by_theta = torch.autograd.grad(h, (pixels, theta))
        images_gradient = images_gradient - rate * by_pixels
        rate_gradient = rate_gradient - h.detach()
        v = v - rate * by_theta
    return images_gradient, rate_gradient
