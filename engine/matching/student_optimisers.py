"""The optimisers of a student: their steps, and the exact derivative of these.

`adjoint` runs back over the steps of a student. Of an optimiser it needs one thing: by which vector
u the gradient of each step is to be multiplied, given the derivatives of the outer loss by what the
step made: the parameters, and what the optimiser remembers.

Steps are numbered from zero. `cotangent` gets the derivatives by the state after a step, that state
as a function because not every optimiser reads it, and no derivatives by the memory after the last
step.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class StudentState:
    """The parameters of a student, and what its optimiser remembers."""

    theta: Float[Tensor, " p"]
    memory: tuple[Float[Tensor, " p"], ...] = ()
    """Nothing before the first step; then the velocity, or Adam's two running means."""


@dataclass(frozen=True)
class StepCotangent:
    """How the outer loss depends on the gradient g of one step, given all that came after it.

    Its derivative by g is scale (constant + per_gradient * g).
    """

    constant: Float[Tensor, " p"]
    per_gradient: Float[Tensor, " p"] | None
    """None unless the optimiser squares the gradient."""
    scale: Tensor | float
    memory: tuple[Float[Tensor, " p"], ...]
    """The derivatives by what the optimiser remembered before the step."""
    by_student_lr: Float[Tensor, ""] | None = None
    """The derivative by the student's learning rate in this step; if None, it is that of plain
    descent: minus the product of the gradient and `constant`."""

    @property
    def vectors(self) -> tuple[Tensor, ...]:
        """Return the vectors that `at` needs."""
        return (self.constant,) if self.per_gradient is None else (self.constant, self.per_gradient)


def at_gradient(gradient: Tensor, constant: Tensor, per_gradient: Tensor | None = None) -> Tensor:
    """Return the derivative by a gradient, without its scale."""
    return constant if per_gradient is None else constant + per_gradient * gradient


@dataclass(frozen=True)
class HeavyBall:
    """Gradient descent with the momentum of torch.optim.SGD; 0 is plain descent.

    velocity' = momentum * velocity + g;  theta' = theta - student_lr * velocity'
    """

    student_lr: Float[Tensor, ""]
    momentum: float = 0.0

    @property
    def needs_memory(self) -> bool:
        """The derivative of a linear step does not depend on the velocity."""
        return False

    def after(self, taken: int) -> "HeavyBall":
        """Return the optimiser of a student that has taken some steps already: the same one."""
        return self

    def step(self, number: int, before: StudentState, gradient: Tensor) -> StudentState:
        """Return the state after a step."""
        student_lr = self.student_lr.detach()
        if not self.momentum:
            return StudentState(before.theta - student_lr * gradient)
        # As in torch.optim.SGD, the first velocity is the gradient itself.
        (velocity,) = before.memory or (None,)
        velocity = gradient if velocity is None else self.momentum * velocity + gradient
        return StudentState(before.theta - student_lr * velocity, (velocity,))

    def cotangent(
        self,
        number: int,
        after: Callable[[], StudentState],
        by_theta: Float[Tensor, " p"],
        by_memory: tuple[Float[Tensor, " p"], ...],
    ) -> StepCotangent:
        """Return the cotangent: u = v + momentum * u, where v is the derivative by theta'.

        u is v weighted by the later steps in which a gradient still acts.
        """
        u = by_theta
        if self.momentum and by_memory:
            u = by_theta + self.momentum * by_memory[0]
        memory = (u,) if self.momentum else ()
        return StepCotangent(u, None, -self.student_lr.detach(), memory)


@dataclass(frozen=True)
class AdamSteps:
    """Adam (arXiv:1412.6980), with the meaning of torch.optim.Adam without weight decay.

    mean' = beta1 mean + (1 - beta1) g;  square' = beta2 square + (1 - beta2) g^2
    theta' = theta - student_lr (mean' / c1) / (sqrt(square' / c2) + epsilon)

    where c1 = 1 - beta1^t and c2 = 1 - beta2^t in step t, counted from one.
    """

    student_lr: Float[Tensor, ""]
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    taken: int = 0
    """Steps before the first one here; the student comes with their running means."""

    @property
    def needs_memory(self) -> bool:
        """The derivative depends on both running means."""
        return True

    def after(self, taken: int) -> "AdamSteps":
        """Return the optimiser of a student that has taken some steps already."""
        return replace(self, taken=self.taken + taken)

    def corrections(self, number: int) -> tuple[float, float]:
        """Return c1 and c2, which correct running means that start from zero."""
        steps = self.taken + number + 1
        return 1 - self.beta1**steps, 1 - self.beta2**steps

    def step(self, number: int, before: StudentState, gradient: Tensor) -> StudentState:
        """Return the state after a step."""
        mean, square = before.memory or (torch.zeros_like(gradient), torch.zeros_like(gradient))
        mean = self.beta1 * mean + (1 - self.beta1) * gradient
        square = self.beta2 * square + (1 - self.beta2) * gradient.square()
        direction = self.direction(number, mean, square)
        return StudentState(before.theta - self.student_lr.detach() * direction, (mean, square))

    def direction(self, number: int, mean: Tensor, square: Tensor) -> Tensor:
        """Return the step before it is multiplied by the learning rate."""
        first, second = self.corrections(number)
        return mean / first / ((square / second).sqrt() + self.epsilon)

    def cotangent(
        self,
        number: int,
        after: Callable[[], StudentState],
        by_theta: Float[Tensor, " p"],
        by_memory: tuple[Float[Tensor, " p"], ...],
    ) -> StepCotangent:
        """Return the cotangent of a step.

        Where `square'` is zero, so is g, and the root has no derivative: 0 is taken.
        """
        mean, square = after().memory
        zero = torch.zeros_like(mean)
        by_mean, by_square = by_memory or (zero, zero)
        first, second = self.corrections(number)
        root = (square / second).sqrt()
        scale = root + self.epsilon
        # The learning rate and both means enter theta' by student_lr * mean' / (c1 * scale).
        by_direction = by_theta * (self.student_lr.detach() / first) / scale
        by_mean = by_mean - by_direction
        through_root = torch.where(
            root > 0, by_direction * mean / scale / (2 * second * root), zero
        )
        by_square = by_square + through_root
        return StepCotangent(
            constant=(1 - self.beta1) * by_mean,
            per_gradient=2 * (1 - self.beta2) * by_square,
            scale=1.0,
            memory=(self.beta1 * by_mean, self.beta2 * by_square),
            by_student_lr=-(by_theta @ (mean / first / scale)),
        )


StudentOptimiser = HeavyBall | AdamSteps
