"""The inner loop and its exact derivative.

The student runs N steps of gradient descent; the way back is the adjoint of gradient descent
(`adjoint`). It is the gradient of MTT (arXiv:2203.11932), which there comes from back-propagation
through the kept graph of all N steps. Here a step's graph is either kept until the way back needs
it (`keep`), or made again from the step's parameters, so that memory does not grow with N but by
the parameter vectors; and of those all are kept, or some, from which the others are walked again
(`every`). All give the same numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.engine.numerics.cuda_graphs import TensorFunction, as_cuda_graph

Learnables = Sequence[Tensor]
"""The synthetic set as far as it is learned: images, and label logits where labels are learned."""

StepInputs = tuple[Tensor, ...]
"""What a student is given in one step: its batch, as the network sees it, and what is taught."""


class Student:
    """Steps of a student: the loss at some parameters of what it is given, and its derivatives.

    Shapes of the arguments are the same in every step and iteration, so that on a GPU what is
    computed can be recorded once and replayed.
    """

    def __init__(self, loss: Callable[..., Float[Tensor, ""]], recorded: bool = False) -> None:
        self.loss = loss
        """`loss(theta, *given)`."""
        self.recorded = recorded
        self.slope = as_cuda_graph(self.slope_at, recorded)
        """Gradient by the parameters, and the loss."""
        self.way_back = cache(self.way_back_of)

    def slope_at(self, theta: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        """As `slope`, computed anew."""
        theta = theta.detach().requires_grad_()
        value = self.loss(theta, *given)
        (gradient,) = torch.autograd.grad(value, theta)
        return gradient, value.detach()

    def way_back_of(self, sought: tuple[bool, ...], through_steps: bool) -> TensorFunction:
        """The adjoint step as a function of theta, u and what is given: see `Attached.way_back`.

        `sought` says by which of what is given a gradient is asked for.
        """

        def way_back(theta: Tensor, u: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            leaves = [
                tensor.detach().requires_grad_(asked)
                for tensor, asked in zip(given, sought, strict=True)
            ]
            return step_gradient(self.loss, theta, leaves).way_back(u, through_steps)

        return as_cuda_graph(way_back, self.recorded)


@dataclass(frozen=True)
class InnerLoss:
    """What a student minimises: its steps, and what it is given in step i."""

    student: Student
    batch: Callable[[int, Learnables], StepInputs]
    """Differentiable by what is learned."""

    def __call__(self, step: int, theta: Tensor, learned: Learnables) -> Float[Tensor, ""]:
        """Loss of student step i at parameters theta on the synthetic set (all of it)."""
        return self.student.loss(theta, *self.batch(step, learned))


@dataclass(frozen=True)
class StepGradient:
    """A step's gradient by the parameters, still attached to what it was computed from."""

    theta: Float[Tensor, " p"]
    given: Sequence[Tensor]
    gradient: Float[Tensor, " p"]
    loss: Float[Tensor, ""]

    def way_back(self, u: Float[Tensor, " p"], through_steps: bool) -> tuple[Tensor, ...]:
        """The gradient along u; and where that leads by what is given, and by the parameters."""
        sought = [tensor for tensor in self.given if tensor.requires_grad]
        sought += [self.theta] * through_steps
        found = torch.autograd.grad(self.gradient, sought, grad_outputs=u)
        return self.gradient.detach() @ u, *found


def step_gradient(
    loss: Callable[..., Float[Tensor, ""]], theta: Tensor, given: Sequence[Tensor]
) -> StepGradient:
    """The gradient of one step, with its graph."""
    theta = theta.detach().requires_grad_()
    value = loss(theta, *given)
    (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
    return StepGradient(theta, given, gradient, value.detach())


@dataclass(frozen=True)
class StepBatch:
    """What a student is given in one step, and how that hangs on what is learned."""

    learned: Learnables
    given: StepInputs
    leaves: Sequence[Tensor]
    """What is given, cut off from what is learned."""

    @classmethod
    def of(cls, loss: InnerLoss, step: int, learned: Learnables) -> "StepBatch":
        """Of that step."""
        held = [tensor.detach().requires_grad_() for tensor in learned]
        given = loss.batch(step, held)
        leaves = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in given]
        return cls(held, given, leaves)

    @property
    def sought(self) -> tuple[bool, ...]:
        """Which of what is given hangs on what is learned."""
        return tuple(tensor.requires_grad for tensor in self.given)

    def back(self, found: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """From gradients by what is given to those by what is learned."""
        hanging = [tensor for tensor in self.given if tensor.requires_grad]
        return torch.autograd.grad(hanging, self.learned, grad_outputs=found)


@dataclass(frozen=True)
class StudentState:
    """Where a student is, and what its momentum remembers."""

    theta: Float[Tensor, " p"]
    velocity: Float[Tensor, " p"] | None = None


StudentStep = Callable[[int, StudentState], StudentState]
"""One student step."""


class StudentPath(Sequence[Tensor]):
    """A student's parameters before the first step and after each: N + 1 vectors.

    With `every` above one, only every so many of them stay in memory; the others are walked again
    from the one before, a stretch at a time, to the same bits. One that was walked again stands
    until another stretch is asked for; a slice holds copies. Memory for all is taken beforehand:
    strewn among the activations of the steps they would hold holes open there.
    """

    def __init__(self, start: Tensor, descend: StudentStep, steps: int, every: int = 1) -> None:
        self.descend, self.every = descend, every
        self.length = 1
        self.rows = storage_rows(start, steps // every + 1)
        self.between = storage_rows(start, every - 1)
        self.kept = {0: StudentState(self.rows[0].copy_(start))}
        self.latest = self.kept[0]
        self.stretch: dict[int, StudentState] = {}

    def walk(self) -> None:
        """One step further."""
        self.latest = self.descend(self.length - 1, self.latest)
        if self.length % self.every == 0:
            row = self.rows[self.length // self.every].copy_(self.latest.theta)
            self.latest = StudentState(row, self.latest.velocity)
            self.kept[self.length] = self.latest if self.every > 1 else StudentState(row)
        self.length += 1

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number].clone() for number in range(*index.indices(self.length))]
        number = range(self.length)[index]
        if number == self.length - 1:
            return self.latest.theta
        if number not in self.kept and number not in self.stretch:
            first = number // self.every * self.every
            at, self.stretch = self.kept[first], {}
            for step in range(first, min(first + self.every, self.length) - 1):
                at = self.descend(step, at)
                row = self.between[step - first].copy_(at.theta)
                at = self.stretch[step + 1] = StudentState(row, at.velocity)
        return (self.kept.get(number) or self.stretch[number]).theta


def storage_rows(vector: Tensor, count: int) -> list[Tensor]:
    """So many vectors side by side in memory, each a tensor of its own and no view of the others.

    Autograd notices what is written into a view as if it were written into all of them.
    """
    block = vector.new_empty(count * len(vector)).untyped_storage()
    return [
        vector.new_empty(0).set_(block, row * len(vector), (len(vector),), (1,))
        for row in range(count)
    ]


@dataclass(frozen=True)
class Unrolled:
    """Where a student went."""

    path: StudentPath
    losses: Float[Tensor, " n"]
    """The inner loss before each step."""
    kept: dict[int, tuple[StepBatch, StepGradient]] = field(default_factory=dict)
    """Graphs of steps, where they were kept; the way back takes them out."""


def unroll(
    loss: InnerLoss,
    start: Float[Tensor, " p"],
    learned: Learnables,
    student_lr: Float[Tensor, ""],
    steps: int,
    momentum: float = 0.0,
    keep: bool = False,
    every: int = 1,
) -> Unrolled:
    """Gradient descent of the student, with heavy-ball momentum where asked.

    velocity_{i+1} = momentum * velocity_i + grad_theta loss(i, theta_i)
    theta_{i+1}    = theta_i - student_lr * velocity_{i+1}

    With `keep`, the graph of every step stays in memory for `adjoint`. Of the parameters every
    `every`-th vector stays; the others are made again when they are asked for.
    """
    held, rate = [tensor.detach() for tensor in learned], student_lr.detach()
    losses: dict[int, Tensor] = {}
    kept: dict[int, tuple[StepBatch, StepGradient]] = {}

    def descend(step: int, at: StudentState) -> StudentState:
        if keep:
            batch = StepBatch.of(loss, step, held)
            slope = step_gradient(loss.student.loss, at.theta, batch.leaves)
            kept[step] = batch, slope
            gradient, value = slope.gradient.detach(), slope.loss
        else:
            gradient, value = loss.student.slope(at.theta, *loss.batch(step, held))
        losses.setdefault(step, value)
        if not momentum:
            return StudentState(at.theta - rate * gradient)
        velocity = gradient if at.velocity is None else momentum * at.velocity + gradient
        return StudentState(at.theta - rate * velocity, velocity)

    path = StudentPath(start.detach(), descend, steps, every)
    for _ in range(steps):
        path.walk()
    return Unrolled(path, torch.stack([losses[step] for step in range(steps)]), kept)


def adjoint(
    loss: InnerLoss,
    walk: Unrolled,
    learned: Learnables,
    student_lr: Float[Tensor, ""],
    cotangents: Mapping[int, Float[Tensor, " p"]],
    momentum: float = 0.0,
    through_steps: bool = True,
) -> tuple[list[Tensor], Float[Tensor, ""]]:
    """Gradient of an outer loss by what is learned and by student_lr.

    `cotangents` holds the outer loss's gradient by theta_i for every step i at which it looks at
    the student (N alone in MTT). With v and u zero past the last of them, back over i:

        v          += cotangents[i + 1]
        u           = v + momentum * u
        h           = grad_theta loss(i, theta_i)' u
        learned    -= student_lr * dh / dlearned
        student_lr -= h
        v          -= student_lr * dh / dtheta_i

    u carries the heavy ball's second adjoint: v weighted by the steps in which a gradient goes on
    acting. One double backward per step; nothing is kept from one step to the next but v and u.

    Without `through_steps` the last line is left out: the parameters of each step count as
    constants. That is the gradient of TESLA (arXiv:2211.10586), which drops all products of
    Hessians. It equals the exact one for a single step and for no other. TESLA's public code
    loses a factor 2 of the images' gradient; here it is kept.
    """
    gradients = [torch.zeros_like(tensor) for tensor in learned]
    rate_gradient = torch.zeros_like(student_lr)
    rate = student_lr.detach()
    v = torch.zeros_like(walk.path[0])
    u = torch.zeros_like(walk.path[0])
    for step in reversed(range(max(cotangents))):
        if step + 1 in cotangents:
            v = v + cotangents[step + 1].detach()
        u = v + momentum * u if momentum else v
        if step in walk.kept:
            batch, slope = walk.kept.pop(step)
            along, *found = slope.way_back(u, through_steps)
        else:
            batch = StepBatch.of(loss, step, learned)
            way_back = loss.student.way_back(batch.sought, through_steps)
            along, *found = way_back(walk.path[step], u, *batch.given)
        if through_steps:
            v = v - rate * found.pop()
        parts = batch.back(found)
        gradients = [total - rate * part for total, part in zip(gradients, parts, strict=True)]
        rate_gradient = rate_gradient - along
    return gradients, rate_gradient
