"""The inner loop of a student, and the exact derivative of its end by learned tensors.

The student takes N steps of an optimiser; `adjoint` then runs back over these steps. The
result is the gradient of MTT (arXiv:2203.11932), which obtains it by back-propagation through the
graph of all N steps. Here the graph of a step is either kept until `adjoint` needs it
(`keep_graphs`) or recomputed from the step's parameters. Memory then grows by one parameter vector
per step; with `keep_every` above one only every k-th vector is kept. All routes give the same
numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.engine.matching.student_optimisers import (
    StudentOptimiser,
    StudentState,
    at_gradient,
)
from ddspec.engine.matching.student_path import StudentPath
from ddspec.engine.numerics.cuda_graphs import TensorFunction, as_cuda_graph

Learnables = Sequence[Tensor]
"""The learned tensors of the synthetic set: images, and label logits if labels are learned."""

StepInputs = tuple[Tensor, ...]
"""The inputs of one student step: its augmented batch, the targets, and the loss's weight."""


class Student:
    """The loss of a student at some parameters and step inputs, with its derivatives.

    The shapes of all arguments are the same in every step and iteration, so that on a GPU each
    derivative is recorded once and replayed.
    """

    def __init__(self, loss: Callable[..., Float[Tensor, ""]], recorded: bool = False) -> None:
        self.loss = loss
        """`loss(theta, *inputs)`."""
        self.recorded = recorded
        self.gradient = as_cuda_graph(gradient_function(loss), recorded)
        """Returns the gradient by the parameters, and the loss."""
        self.adjoint_steps: dict[tuple[tuple[bool, ...], bool, int], TensorFunction] = {}

    def adjoint_step(
        self, differentiable: tuple[bool, ...], through_steps: bool, vectors: int = 1
    ) -> TensorFunction:
        """Return the adjoint step, recorded once for each combination of wanted gradients."""
        wanted = differentiable, through_steps, vectors
        if wanted not in self.adjoint_steps:
            function = adjoint_step_function(self.loss, *wanted)
            self.adjoint_steps[wanted] = as_cuda_graph(function, self.recorded)
        return self.adjoint_steps[wanted]


def gradient_function(loss: Callable[..., Float[Tensor, ""]]) -> TensorFunction:
    """Return a function of theta and the step inputs: the gradient by theta, and the loss."""

    def gradient(theta: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        theta = theta.detach().requires_grad_()
        value = loss(theta, *inputs)
        (by_theta,) = torch.autograd.grad(value, theta)
        return by_theta, value.detach()

    return gradient


def adjoint_step_function(
    loss: Callable[..., Float[Tensor, ""]],
    differentiable: tuple[bool, ...],
    through_steps: bool,
    vectors: int,
) -> TensorFunction:
    """Return the adjoint step: a function of theta, the cotangent's vectors and the step inputs.

    `differentiable` says by which inputs a gradient is wanted, `vectors` how many vectors the
    cotangent has. The function's results are those of `StepGradient.pull_back`.
    """

    def adjoint_step(theta: Tensor, *arguments: Tensor) -> tuple[Tensor, ...]:
        cotangent, inputs = arguments[:vectors], arguments[vectors:]
        leaves = [
            tensor.detach().requires_grad_(wanted)
            for tensor, wanted in zip(inputs, differentiable, strict=True)
        ]
        return step_gradient(loss, theta, leaves).pull_back(cotangent, through_steps)

    return adjoint_step


@dataclass(frozen=True)
class InnerLoss:
    """The loss that a student minimises: the student, and the inputs of each step."""

    student: Student
    step_inputs: Callable[[int, Learnables], StepInputs]
    """Returns the inputs of step i, differentiable by the learned tensors."""

    def __call__(self, step: int, theta: Tensor, learned: Learnables) -> Float[Tensor, ""]:
        """Return the loss of student step i at parameters theta on the synthetic set."""
        return self.student.loss(theta, *self.step_inputs(step, learned))


@dataclass(frozen=True)
class StepGradient:
    """The gradient of one step by the parameters, with its graph."""

    theta: Float[Tensor, " p"]
    inputs: Sequence[Tensor]
    gradient: Float[Tensor, " p"]
    loss: Float[Tensor, ""]

    def pull_back(self, cotangent: Sequence[Tensor], through_steps: bool) -> tuple[Tensor, ...]:
        """Return gradient' u, then its derivative by the inputs and, if asked, by theta.

        u is what `cotangent` gives at the gradient; it counts as a constant.
        """
        u = at_gradient(self.gradient.detach(), *cotangent)
        sought = [tensor for tensor in self.inputs if tensor.requires_grad]
        sought += [self.theta] * through_steps
        # Back-propagating u through the gradient is a Hessian-vector product: the Hessian itself
        # is never formed.
        products = torch.autograd.grad(self.gradient, sought, grad_outputs=u)
        return self.gradient.detach() @ u, *products


def step_gradient(
    loss: Callable[..., Float[Tensor, ""]], theta: Tensor, inputs: Sequence[Tensor]
) -> StepGradient:
    """Return the gradient of one step, with its graph."""
    theta = theta.detach().requires_grad_()
    value = loss(theta, *inputs)
    (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
    return StepGradient(theta, inputs, gradient, value.detach())


@dataclass(frozen=True)
class StepBatch:
    """The inputs of one step, and how they depend on the learned tensors."""

    learned: Learnables
    inputs: StepInputs
    leaves: Sequence[Tensor]
    """The inputs, detached from the learned tensors."""

    @classmethod
    def of(cls, loss: InnerLoss, step: int, learned: Learnables) -> "StepBatch":
        """Return the inputs of a step."""
        held = [tensor.detach().requires_grad_() for tensor in learned]
        inputs = loss.step_inputs(step, held)
        leaves = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in inputs]
        return cls(held, inputs, leaves)

    @property
    def differentiable(self) -> tuple[bool, ...]:
        """Return which inputs depend on the learned tensors."""
        return tuple(tensor.requires_grad for tensor in self.inputs)

    def pull_back(self, by_inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn gradients by the inputs into gradients by the learned tensors."""
        dependent = [tensor for tensor in self.inputs if tensor.requires_grad]
        return torch.autograd.grad(dependent, self.learned, grad_outputs=by_inputs)


@dataclass(frozen=True)
class StudentDescent:
    """How a student descends, and which of its steps stay in memory."""

    optimiser: StudentOptimiser
    steps: int
    keep_graphs: bool = False
    """Whether the graph of every step stays in memory for `adjoint`."""
    keep_every: int = 1
    """Every k-th parameter vector stays in memory; the others are recomputed."""


@dataclass(frozen=True)
class Unrolled:
    """A student after its steps."""

    path: StudentPath
    losses: Float[Tensor, " n"]
    """The inner loss before each step."""
    descent: StudentDescent
    graphs: dict[int, tuple[StepBatch, StepGradient]] = field(default_factory=dict)
    """Kept graphs of steps; `adjoint` removes each when it has used it."""


def unroll(
    loss: InnerLoss, start: StudentState, learned: Learnables, descent: StudentDescent
) -> Unrolled:
    """Run the steps of the student from its start, with all that `adjoint` needs."""
    held = [tensor.detach() for tensor in learned]
    losses: dict[int, Tensor] = {}
    graphs: dict[int, tuple[StepBatch, StepGradient]] = {}

    def take_step(step: int, state: StudentState) -> StudentState:
        if descent.keep_graphs:
            batch = StepBatch.of(loss, step, held)
            graphs[step] = batch, step_gradient(loss.student.loss, state.theta, batch.leaves)
            gradient, value = graphs[step][1].gradient.detach(), graphs[step][1].loss
        else:
            inputs = loss.step_inputs(step, held)
            gradient, value = loss.student.gradient(state.theta, *inputs)
        # A recomputed step gives the same loss again; the first value stands.
        losses.setdefault(step, value)
        return descent.optimiser.step(step, state, gradient)

    path = StudentPath(
        start, take_step, descent.steps, descent.keep_every, descent.optimiser.needs_memory
    )
    for _ in range(descent.steps):
        path.extend()
    ordered = torch.stack([losses[step] for step in range(descent.steps)])
    return Unrolled(path, ordered, descent, graphs)


def adjoint(
    loss: InnerLoss,
    unrolled: Unrolled,
    learned: Learnables,
    cotangents: Mapping[int, Float[Tensor, " p"]],
    through_steps: bool = True,
) -> tuple[list[Tensor], Float[Tensor, ""]]:
    """Return the gradient of an outer loss by the learned tensors and by student_lr.

    `cotangents` holds the outer loss's gradient by theta_i for every step i that the loss looks
    at (N alone in MTT). With v zero after the last of them, run back over i:

        v       += cotangents[i + 1]
        u        = what the optimiser makes of v and of the steps after this one
        h        = grad_theta loss(i, theta_i)' u
        learned += scale * dh / dlearned
        v       += scale * dh / dtheta_i

    For plain descent u is v and scale is -student_lr, so that -h is the derivative by student_lr;
    other optimisers carry the derivatives by what they remember as well (`student_optimisers`).
    Each step costs one double backward, and only v and these pass from one step to the next.

    Without `through_steps` the last line is left out: the parameters of each step count as
    constants. That is the gradient of TESLA (arXiv:2211.10586), which drops all products of
    Hessians. It equals the exact one for a single step and for no other number of steps. TESLA's
    public code loses a factor 2 of the images' gradient; here it is kept.
    """
    optimiser = unrolled.descent.optimiser
    gradients = [torch.zeros_like(tensor) for tensor in learned]
    by_student_lr = torch.zeros_like(optimiser.student_lr)
    v = torch.zeros_like(unrolled.path[0])
    by_memory: tuple[Tensor, ...] = ()
    for step in reversed(range(max(cotangents))):
        if step + 1 in cotangents:
            v = v + cotangents[step + 1].detach()
        after = partial(unrolled.path.state, step + 1)
        cotangent = optimiser.cotangent(step, after, v, by_memory)
        if step in unrolled.graphs:
            # Taken out, so that the graph's memory is free as soon as the step is done.
            batch, kept = unrolled.graphs.pop(step)
            h, *products = kept.pull_back(cotangent.vectors, through_steps)
        else:
            batch = StepBatch.of(loss, step, learned)
            vectors = cotangent.vectors
            adjoint_step = loss.student.adjoint_step(
                batch.differentiable, through_steps, len(vectors)
            )
            h, *products = adjoint_step(unrolled.path[step], *vectors, *batch.inputs)
        if through_steps:
            v = v + cotangent.scale * products.pop()
        parts = batch.pull_back(products)
        gradients = [
            total + cotangent.scale * part for total, part in zip(gradients, parts, strict=True)
        ]
        by_learning_rate = cotangent.by_student_lr
        by_student_lr = by_student_lr + (-h if by_learning_rate is None else by_learning_rate)
        by_memory = cotangent.memory
    return gradients, by_student_lr
