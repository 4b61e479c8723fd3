"""Trajectory matching: a student is unrolled and compared with an expert's trajectory.

The objective of MTT (arXiv:2203.11932) with the ingredients of TESLA, FTD, DATM, ATT, PAD, AST
and MCT.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.plan.steps import DistillStep, ExpertsStep, TrajectoryStep
from ddspec.dsl.spec.objectives.trajectory import (
    BalancedInnerLoss,
    Perturbation,
    TrajectoryMatching,
)
from ddspec.dsl.spec.synthetic import (
    ExpertLabels,
    Hard,
    LearnedLabels,
    RegressionLabels,
    UnnormalizedLabels,
)
from ddspec.dsl.terms import OuterGradient
from ddspec.engine.control import Diverged
from ddspec.engine.matching.losses import (
    MatchTarget,
    expert_distances,
    intermediate_step,
    intermediate_weight,
    matched_step,
    matching_losses,
)
from ddspec.engine.matching.student_optimisers import HeavyBall, StudentState
from ddspec.engine.matching.student_start import inner_weight, perturb
from ddspec.engine.matching.unroll import (
    InnerLoss,
    Learnables,
    StepInputs,
    Student,
    StudentDescent,
    Unrolled,
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
from ddspec.engine.stages.windows import Window, Windows
from ddspec.engine.training.augmentation import augment, draw_augmentation
from ddspec.engine.training.epoch import forward_in_batches
from ddspec.engine.training.partition import seen_images
from ddspec.engine.training.soft_labels import taught

START_EPOCH = "start_epoch"
"""Name of what an iteration carries to the next one: its start epoch."""


@contextmanager
def open_trajectory_matching(
    step: DistillStep, source: ExpertsStep | TrajectoryStep, context: StageContext
) -> Iterator[Objective]:
    """Open the trajectories for the block, and yield the objective."""
    net = context.network(step.network)
    # Made once: on a GPU it holds the recordings that every iteration replays.
    student = student_of(net, step)
    with Windows(step, source, net, context) as windows:

        def iterate(state: DistillState, update: Update) -> IterationEnd:
            window = windows.take(state.iteration, state.carried.get(START_EPOCH))
            changed = update(state, match_student(state, step, window, net, student))
            return IterationEnd(changed, carried={START_EPOCH: window.epoch})

        yield iterate


def student_of(net: FlatNetwork, step: DistillStep) -> Student:
    """Return the student of every iteration, on the step's route."""

    def loss(theta: Tensor, images: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        return weight * F.cross_entropy(net(theta, images), targets)

    return Student(loss, step.route.recorded)


def match_student(
    state: DistillState, step: DistillStep, window: Window, net: FlatNetwork, student: Student
) -> Measurement:
    """Unroll the student of an iteration and compare it with its targets."""
    matching = step.trajectory_matching
    start = student_start(step, state.iteration, window, net)
    labels = taught_labels(state, step, window, net)
    weight = inner_loss_weight(matching.balanced_inner_loss, matching.max_start_epoch, window.epoch)
    loss = InnerLoss(student, step_inputs(step, state.iteration, labels, weight))
    learned = [state.images.value]
    if state.learned_labels is not None:
        learned.append(state.learned_labels.value)
    unrolled = unroll(loss, StudentState(start), learned, student_descent(state, step))

    # ATT matches at the nearest step; everywhere else it is the last.
    reached = matched_step(matching.matched_step, unrolled.path, window.target)
    reference = distance_reference(matching.perturbation, window, start)
    targets = match_targets(matching, window, reached)
    losses, cotangents = matching_losses(
        unrolled.path, targets, reference, matching.loss, matching.parameters
    )
    if not losses.isfinite().all():
        distances = expert_distances(unrolled.path, targets, reference, matching.parameters)
        refuse_still_expert(state.iteration, matching, window, distances)

    def gradient() -> ObjectiveGradient:
        exact = is_exact(matching.gradient)
        (by_images, *by_logits), by_student_lr = adjoint(loss, unrolled, learned, cotangents, exact)
        return ObjectiveGradient(by_images, by_logits[0] if by_logits else None, by_student_lr)

    figures = {
        "matching_loss": float(losses[-1]),
        "intermediate_loss": float(losses[:-1].sum()),
        "start_epoch": window.epoch,
        "expert": float(window.expert),
        "inner_loss": mean_inner_loss(unrolled, weight, reached),
        "inner_weight": weight,
        "matched_step": float(reached),
    }
    return Measurement(
        loss=figures["matching_loss"],
        figures=figures,
        labels=labels,
        gradient=gradient,
    )


def student_descent(state: DistillState, step: DistillStep) -> StudentDescent:
    """Return how the student descends; TESLA's gradient has no use for kept graphs."""
    matching, route = step.trajectory_matching, step.route
    return StudentDescent(
        HeavyBall(state.student_lr.value, matching.student_momentum),
        steps=matching.syn_steps,
        keep_graphs=route.student_graph == "kept" and is_exact(matching.gradient),
        keep_every=route.keep_every,
    )


def student_start(step: DistillStep, iteration: int, window: Window, net: FlatNetwork) -> Tensor:
    """Return the student's first parameters: on the trajectory, or perturbed."""
    perturbation = step.trajectory_matching.perturbation
    if perturbation is None:
        return window.start
    generator = random_stream(step.seed, "distill", iteration, "perturbation")
    rho, scale, dropout = perturbation.rho, perturbation.scale, perturbation.dropout
    return perturb(window.start, net.shapes, rho, scale, dropout, generator)


def distance_reference(perturbation: Perturbation | None, window: Window, start: Tensor) -> Tensor:
    """Return the point from which the expert's distance to its target is measured."""
    from_start = perturbation is not None and perturbation.denominator == "perturbed"
    return start if from_start else window.start


def inner_loss_weight(
    balanced: BalancedInnerLoss | None, max_start_epoch: int, epoch: float
) -> float:
    """Return the weight of the inner loss of a student that starts at `epoch`."""
    if balanced is None:
        return 1.0
    mid = max_start_epoch / 2 if balanced.mid is None else balanced.mid
    return inner_weight(epoch, mid, balanced.offset, balanced.log_base, balanced.smooth)


def taught_labels(
    state: DistillState, step: DistillStep, window: Window, net: FlatNetwork
) -> Tensor:
    """Return the labels that the student is taught; learned ones are read from their logits.

    Labels of the expert are its softmax at the target, on the images as they stand and without
    temperature (soft label assignment of TESLA, arXiv:2211.10586).
    """
    match step.synthetic.labels:
        case Hard() | LearnedLabels() | UnnormalizedLabels() | RegressionLabels():
            return state.labels
        case ExpertLabels():
            return forward_in_batches(net, window.target, state.images.value).softmax(1)
        case _:
            assert_never(step.synthetic.labels)


def match_targets(matching: TrajectoryMatching, window: Window, reached: int) -> list[MatchTarget]:
    """Return the targets: the window's, preceded by those of intermediate matching (AST)."""
    last = MatchTarget(reached, window.target)
    intermediate = matching.intermediate
    if intermediate is None:
        return [last]
    epochs, steps = len(window.between) + 1, matching.syn_steps
    between = [
        MatchTarget(
            intermediate_step(intermediate.points, index, epochs, steps),
            target,
            intermediate_weight(intermediate.weights, index, epochs),
        )
        for index, target in enumerate(window.between, start=1)
    ]
    return [*between, last]


def is_exact(name: OuterGradient) -> bool:
    """Return whether the outer gradient runs through the parameters of each student step."""
    match name:
        case "exact":
            return True
        case "tesla":
            return False
        case _:
            assert_never(name)


def mean_inner_loss(unrolled: Unrolled, weight: float, reached: int) -> float:
    """Return the mean cross-entropy over the steps up to the match, without its weight."""
    return float(unrolled.losses[:reached].mean()) / weight


def step_inputs(
    step: DistillStep, iteration: int, labels: Tensor, weight: float
) -> Callable[[int, Learnables], StepInputs]:
    """Return the function that gives the inputs of each student step.

    Every step has its own batch and its own augmentation, drawn before the first step.
    """
    matching, device = step.trajectory_matching, labels.device
    generator = random_stream(step.seed, "distill", iteration, "steps")
    partition, form = step.synthetic.partition, step.synthetic.labels
    count = len(labels) * partition**2
    batches = student_batches(count, matching.batch_syn, matching.syn_steps, generator)
    families = step.augmentation.families
    draws = [draw_augmentation(families, len(batch), generator) for batch in batches]
    indices = [to_device(batch, device) for batch in batches]
    # Small images of a stored one share its label.
    owners = [to_device(batch // partition**2, device) for batch in batches]
    # A tensor, not a number: a CUDA graph must read the weight of each iteration anew.
    factor = torch.full((), weight, device=device)

    def inputs(i: int, learned: Learnables) -> StepInputs:
        images, *own = learned
        targets = taught(form, own[0][owners[i]]) if own else labels[owners[i]]
        return augment(seen_images(images, partition, indices[i]), draws[i]), targets, factor

    return inputs


def student_batches(
    count: int, batch: int | None, steps: int, generator: torch.Generator
) -> list[Tensor]:
    """Return the indices of the synthetic images that each step is trained on.

    A random order is cut into batches; when they are used up a new order is drawn. The smaller
    rest comes first, because MTT's code takes the pieces from the end.
    """
    pieces: list[Tensor] = []
    batches = []
    for _ in range(steps):
        if not pieces:
            pieces = list(torch.randperm(count, generator=generator).split(batch or count))
        batches.append(pieces.pop())
    return batches


def refuse_still_expert(
    iteration: int, matching: TrajectoryMatching, window: Window, distances: Tensor
) -> None:
    """Raise Diverged if the expert did not move to a target, which makes the loss undefined.

    `distances` are its squared distances to the targets, in the parameters that are matched.
    """
    part = matching.parameters is not None
    if not (distances > 0).all():
        raise Diverged(
            cause=f"expert {window.expert} does not move in the {matching.expert_epochs:g} "
            f"epochs from epoch {window.epoch:g}"
            f"{', in the parameters that are matched' if part else ''}",
            advice=f"{'lower matching.parameters.drop, ' if part else ''}raise "
            "experts.optimizer.lr or experts.smoothing.clipped_loss.start, or start later: "
            "matching.min_start_epoch",
            at=iteration,
        )
