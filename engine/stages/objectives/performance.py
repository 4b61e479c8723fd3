"""Performance: the loss on real images of a student that was trained on the synthetic set.

Nothing is matched: the goal of distillation itself is reduced (RaT-BPTT, arXiv:2311.07025). The
gradient runs back through a window of the student's steps, by the same adjoint as in trajectory
matching, so that memory grows with the window by a few parameter vectors a step and not by the
activations of a step.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.plan.routes import PIECE
from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.spec.objectives.performance import (
    AdamStudent,
    FreeSteps,
    Performance,
    SgdStudent,
)
from ddspec.engine.matching.student_optimisers import (
    AdamSteps,
    HeavyBall,
    StudentOptimiser,
    StudentState,
)
from ddspec.engine.matching.unroll import (
    InnerLoss,
    Learnables,
    StepInputs,
    Student,
    StudentDescent,
    adjoint,
    unroll,
)
from ddspec.engine.networks.flat_network import FlatNetwork
from ddspec.engine.numerics.seeds import random_stream, to_device
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import (
    IterationEnd,
    Measurement,
    Objective,
    ObjectiveGradient,
    Update,
)
from ddspec.engine.stages.objectives.outer_iteration import OuterIteration
from ddspec.engine.training.augmentation import augment, draw_augmentation
from ddspec.engine.training.epoch import (
    GradientFn,
    LabelledImages,
    TrainingBatch,
    cross_entropy_gradient,
    recorded_gradient,
)
from ddspec.engine.training.partition import seen_images
from ddspec.engine.training.soft_labels import taught


@contextmanager
def open_performance(
    step: DistillStep, matching: Performance, context: StageContext
) -> Iterator[Objective]:
    """Yield the objective."""
    net = context.network(step.network)
    # Made once: on a GPU these hold the recordings that every iteration replays.
    student = student_of(net, step)
    real_gradient = recorded_gradient(cross_entropy_gradient(net), step.route.recorded)

    def iterate(state: DistillState, update: Update) -> IterationEnd:
        draws = PerformanceDraws(step, context, state.iteration, matching)
        return IterationEnd(update(state, measure(state, draws, student, real_gradient)))

    yield iterate


def student_of(net: FlatNetwork, step: DistillStep) -> Student:
    """Return the student of every iteration, on the step's route."""
    return Student(
        lambda theta, images, targets: F.cross_entropy(net(theta, images), targets),
        step.route.recorded,
    )


@dataclass(frozen=True)
class PerformanceDraws(OuterIteration):
    """What is drawn for one iteration."""

    matching: Performance

    @property
    def position(self) -> tuple[int, int]:
        """Return the number of the pass over the real images, and of the batch within it."""
        real = len(self.context.data.train_images)
        return divmod(self.iteration, -(-real // self.matching.real_images))

    def free_steps(self) -> int:
        """Return the number of student steps before the window."""
        return drawn_free_steps(
            self.matching.free_steps, self.step.seed, self.iteration, self.position[0]
        )

    def real_pieces(self) -> Iterator[LabelledImages]:
        """Yield the next real images of the pass in pieces, augmented by one family.

        A piece is cut out and augmented when it is asked for, so that few are in memory.
        """
        data, (number, batch) = self.context.data, self.position
        order = torch.randperm(
            len(data.train_images),
            generator=random_stream(self.step.seed, "distill", "pass", number, "order"),
        )
        first = batch * self.matching.real_images
        chosen = order[first : first + self.matching.real_images]
        drawn = draw_augmentation(
            self.step.augmentation.families, len(chosen), self.stream("augmentation")
        )
        for piece in torch.arange(len(chosen)).split(PIECE):
            indices = to_device(chosen[piece], data.train_images.device)
            of_piece = None if drawn is None else drawn.of_images(piece)
            images = augment(data.train_images[indices], of_piece)
            yield LabelledImages(images, data.train_labels[indices])

    def step_inputs(self, labels: Tensor, steps: int) -> Callable[[int, Learnables], StepInputs]:
        """Return the function that gives the inputs of each student step.

        Images and augmentation are drawn anew for each step, all before the first step.
        """
        generator = self.stream("steps")
        batches = [self.student_batch(generator) for _ in range(steps)]
        families = self.step.augmentation.families
        draws = [draw_augmentation(families, len(batch), generator) for batch in batches]
        partition, form = self.step.synthetic.partition, self.step.synthetic.labels
        indices = [to_device(batch, labels.device) for batch in batches]
        owners = [to_device(batch // partition**2, labels.device) for batch in batches]

        def inputs(i: int, learned: Learnables) -> StepInputs:
            images, *own = learned
            targets = taught(form, own[0][owners[i]]) if own else labels[owners[i]]
            return augment(seen_images(images, partition, indices[i]), draws[i]), targets

        return inputs

    def student_batch(self, generator: torch.Generator) -> Tensor:
        """Return the indices of the synthetic images of one student step, class by class."""
        ipc, classes = self.step.synthetic.seen_ipc, self.context.facts.classes
        count = self.matching.syn_per_class or ipc
        if count == ipc:
            return torch.arange(ipc * classes)
        return torch.cat(
            [
                torch.randperm(ipc, generator=generator)[:count].sort().values + label * ipc
                for label in range(classes)
            ]
        )


def drawn_free_steps(free: FreeSteps, seed: int, iteration: int, number: int) -> int:
    """Return the free steps of an iteration in a pass of that number over the real images."""
    match free.drawn:
        case "per_pass":
            generator = random_stream(seed, "distill", "pass", number, "free steps")
        case "per_iteration":
            generator = random_stream(seed, "distill", iteration, "free steps")
        case _:
            assert_never(free.drawn)
    return free.least + int(torch.randint(free.most - free.least + 1, (), generator=generator))


def measure(
    state: DistillState, draws: PerformanceDraws, student: Student, real_gradient: GradientFn
) -> Measurement:
    """Train the student of an iteration, and take its loss on real images."""
    matching, step = draws.matching, draws.step
    free, window = draws.free_steps(), matching.window
    learned = [state.images.value]
    if state.learned_labels is not None:
        learned.append(state.learned_labels.value)
    inputs = draws.step_inputs(state.labels, free + window)

    start = StudentState(draws.fresh_network())
    optimiser = student_optimiser(matching, like=start.theta)
    for number in range(free):
        draws.context.control.leave_if_stopped()
        gradient, _ = student.gradient(start.theta, *inputs(number, learned))
        start = optimiser.step(number, start, gradient)

    loss = InnerLoss(student, lambda number, held: inputs(free + number, held))
    descent = StudentDescent(
        optimiser.after(free),
        window,
        keep_graphs=step.route.student_graph == "kept",
        keep_every=step.route.keep_every,
    )
    unrolled = unroll(loss, start, learned, descent)
    real_loss, by_theta = mean_loss(real_gradient, unrolled.path[-1], draws.real_pieces())

    def gradient_of_set() -> ObjectiveGradient:
        (by_images, *by_logits), _ = adjoint(loss, unrolled, learned, {window: by_theta})
        return ObjectiveGradient(by_images, by_logits[0] if by_logits else None)

    figures = {
        "matching_loss": real_loss,
        "inner_loss": float(unrolled.losses.mean()),
        "free_steps": float(free),
    }
    return Measurement(
        loss=real_loss, figures=figures, labels=state.labels, gradient=gradient_of_set
    )


def student_optimiser(matching: Performance, like: Tensor) -> StudentOptimiser:
    """Return the optimiser that a spec gives its students."""
    lr = like.new_tensor(matching.student_lr)
    match matching.student_optimizer:
        case AdamStudent(beta1=beta1, beta2=beta2, epsilon=epsilon):
            return AdamSteps(lr, beta1, beta2, epsilon)
        case SgdStudent(momentum=momentum):
            return HeavyBall(lr, momentum)
        case _:
            assert_never(matching.student_optimizer)


def mean_loss(
    gradient_fn: GradientFn, theta: Float[Tensor, " p"], pieces: Iterable[LabelledImages]
) -> tuple[float, Float[Tensor, " p"]]:
    """Return the mean loss on the images of all pieces, and its gradient by theta."""
    loss, by_theta, count = torch.zeros((), device=theta.device), torch.zeros_like(theta), 0
    for piece in pieces:
        result = gradient_fn(theta, TrainingBatch(piece.images, piece.images, piece.labels))
        loss = loss + len(piece.images) * result.loss
        by_theta = by_theta + len(piece.images) * result.gradient
        count += len(piece.images)
    return float(loss) / count, by_theta / count
