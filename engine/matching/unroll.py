"""The inner loop of a student, and the exact derivative of its end by learned tensors.

The student takes N steps of gradient descent; `adjoint` then runs back over these steps. The
result is the gradient of MTT (arXiv:2203.11932), which obtains it by back-propagation through the
graph of all N steps. Here the graph of a step is either kept until `adjoint` needs it
(`keep_graphs`) or recomputed from the step's parameters. Memory then grows by one parameter vector
per step; with `keep_every` above one only every k-th vector is kept. All routes give the same
numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.engine.matching.student_path import StudentPath, StudentState
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
        self.adjoint_steps: dict[tuple[tuple[bool, ...], bool], TensorFunction] = {}

    def adjoint_step(self, differentiable: tuple[bool, ...], through_steps: bool) -> TensorFunction:
        """Return the adjoint step, recorded once for each combination of wanted gradients."""
        wanted = differentiable, through_steps
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
    loss: Callable[..., Float[Tensor, ""]], differentiable: tuple[bool, ...], through_steps: bool
) -> TensorFunction:
    """Return the adjoint step as a function of theta, u and the step inputs.

    `differentiable` says by which inputs a gradient is wanted. The function's results are those
    of `StepGradient.pull_back`.
    """

    def adjoint_step(theta: Tensor, u: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        leaves = [
            tensor.detach().requires_grad_(wanted)
            for tensor, wanted in zip(inputs, differentiable, strict=True)
        ]
        return step_gradient(loss, theta, leaves).pull_back(u, through_steps)

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

    def pull_back(self, u: Float[Tensor, " p"], through_steps: bool) -> tuple[Tensor, ...]:
        """Return gradient' u, then its derivative by the inputs and, if asked, by theta."""
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

    student_lr: Float[Tensor, ""]
    steps: int
    momentum: float = 0.0
    """Heavy-ball momentum; 0 is plain gradient descent."""
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
    loss: InnerLoss, start: Float[Tensor, " p"], learned: Learnables, descent: StudentDescent
) -> Unrolled:
    """Run gradient descent of the student, with heavy-ball momentum if asked.

    velocity_{i+1} = momentum * velocity_i + grad_theta loss(i, theta_i)
    theta_{i+1}    = theta_i - student_lr * velocity_{i+1}
    """
    held, student_lr = [tensor.detach() for tensor in learned], descent.student_lr.detach()
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
        if not descent.momentum:
            return StudentState(state.theta - student_lr * gradient)
        before = state.velocity
        # As in torch.optim.SGD, the first velocity is the gradient itself.
        velocity = gradient if before is None else descent.momentum * before + gradient
        return StudentState(state.theta - student_lr * velocity, velocity)

    path = StudentPath(start.detach(), take_step, descent.steps, descent.keep_every)
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
    at (N alone in MTT). With v and u zero after the last of them, run back over i:

        v          += cotangents[i + 1]
        u           = v + momentum * u
        h           = grad_theta loss(i, theta_i)' u
        learned    -= student_lr * dh / dlearned
        student_lr -= h
        v          -= student_lr * dh / dtheta_i

    u is the second adjoint of heavy-ball momentum: v weighted by the later steps in which a
    gradient still acts. Each step costs one double backward, and only v and u pass from one step
    to the next.

    Without `through_steps` the last line is left out: the parameters of each step count as
    constants. That is the gradient of TESLA (arXiv:2211.10586), which drops all products of
    Hessians. It equals the exact one for a single step and for no other number of steps. TESLA's
    public code loses a factor 2 of the images' gradient; here it is kept.
    """
    gradients = [torch.zeros_like(tensor) for tensor in learned]
    by_student_lr = torch.zeros_like(unrolled.descent.student_lr)
    student_lr, momentum = unrolled.descent.student_lr.detach(), unrolled.descent.momentum
    v = torch.zeros_like(unrolled.path[0])
    u = torch.zeros_like(unrolled.path[0])
    for step in reversed(range(max(cotangents))):
        if step + 1 in cotangents:
            v = v + cotangents[step + 1].detach()
        u = v + momentum * u if momentum else v
        if step in unrolled.graphs:
            # Taken out, so that the graph's memory is free as soon as the step is done.
            batch, kept = unrolled.graphs.pop(step)
            h, *products = kept.pull_back(u, through_steps)
        else:
            batch = StepBatch.of(loss, step, learned)
            adjoint_step = loss.student.adjoint_step(batch.differentiable, through_steps)
            h, *products = adjoint_step(unrolled.path[step], u, *batch.inputs)
        if through_steps:
            v = v - student_lr * products.pop()
        parts = batch.pull_back(products)
        gradients = [
            total - student_lr * part for total, part in zip(gradients, parts, strict=True)
        ]
        by_student_lr = by_student_lr - h
    return gradients, by_student_lr
