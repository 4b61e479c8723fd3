"""One iteration of the outer loop: unroll a student, match it, update the synthetic set."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.record.series import SERIES, Guarded
from ddspec.dsl.spec.matching import BalancedInnerLoss, Matching, Perturbation
from ddspec.dsl.spec.synthetic import ExpertLabels, Hard, LearnedLabels, StudentLr, Synthetic
from ddspec.dsl.terms import OuterGradient
from ddspec.engine.control import Diverged
from ddspec.engine.matching.losses import (
    MatchTarget,
    intermediate_step,
    intermediate_weight,
    matched_step,
    matching_losses,
)
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
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.windows import Window
from ddspec.engine.training.augmentation import augment, draw_augmentation
from ddspec.engine.training.epoch import forward_in_batches
from ddspec.engine.training.optimisers import OptimiserState, SgdOptimiser


def student_of(net: FlatNetwork, step: DistillStep) -> Student:
    """Return the student of every iteration, on the step's route."""

    def loss(theta: Tensor, images: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        return weight * F.cross_entropy(net(theta, images), targets)

    return Student(loss, step.route.recorded)


@dataclass(frozen=True)
class Matched:
    """A student that was unrolled and compared with its targets."""

    loss: InnerLoss
    learned: Learnables
    labels: Tensor
    """The labels that the student was taught."""
    unrolled: Unrolled
    cotangents: dict[int, Tensor]
    """Gradient of the matching loss by the student's parameters, by step."""
    figures: dict[str, float]
    """What the series keep of this part of the iteration."""


def outer_step(
    state: DistillState, step: DistillStep, window: Window, net: FlatNetwork, student: Student
) -> DistillState:
    """Return the state after one more iteration; raise Diverged if a number is not finite."""
    matching = step.matching
    matched = match_student(state, step, window, net, student)
    figures = matched.figures
    if matching.loss_limit is not None and figures["matching_loss"] > matching.loss_limit:
        # Decided before the adjoint, which is the expensive half of an iteration.
        changed, applied = state, AppliedUpdate(Guarded.SKIPPED, gradient_norm=0.0)
    else:
        exact = is_exact(matching.gradient)
        gradients, by_student_lr = adjoint(
            matched.loss, matched.unrolled, matched.learned, matched.cotangents, exact
        )
        by_images, *by_logits = gradients
        gradient = OuterGradients(by_images, by_logits, by_student_lr)
        changed, applied = apply_update(state, matched.labels, step, gradient)
    figures |= {
        "student_lr": float(changed.student_lr.value),
        "gradient_norm": applied.gradient_norm,
        "guarded": applied.guarded,
        "rate_held": applied.rate_held,
    }
    series = {name: (*state.series[name], float(figures[name])) for name in SERIES}
    return replace(changed, series=series)


def match_student(
    state: DistillState, step: DistillStep, window: Window, net: FlatNetwork, student: Student
) -> Matched:
    """Unroll the student of an iteration and compare it with its targets."""
    matching = step.matching
    start = student_start(step, state.iteration, window, net)
    labels = taught_labels(state, step, window, net)
    weight = inner_loss_weight(matching.balanced_inner_loss, matching.max_start_epoch, window.epoch)
    loss = InnerLoss(student, step_inputs(step, state.iteration, labels, weight))
    learned = [state.images.value]
    if state.label_logits is not None:
        learned.append(state.label_logits.value)
    unrolled = unroll(loss, start, learned, student_descent(state, step))

    # ATT matches at the nearest step; everywhere else it is the last.
    reached = matched_step(matching.matched_step, unrolled.path, window.target)
    reference = distance_reference(matching.perturbation, window, start)
    targets = match_targets(matching, window, reached)
    losses, cotangents = matching_losses(unrolled.path, targets, reference)
    figures = {
        "matching_loss": float(losses[-1]),
        "intermediate_loss": float(losses[:-1].sum()),
        "start_epoch": window.epoch,
        "expert": window.expert,
        "inner_loss": mean_inner_loss(unrolled, weight, reached),
        "inner_weight": weight,
        "matched_step": reached,
    }
    if not losses.isfinite().all():
        refuse_still_expert(state.iteration, matching, window, reference)
    values = (figures[name] for name in ("matching_loss", "intermediate_loss", "inner_loss"))
    refuse_non_finite(state, step.synthetic.student_lr, "the matching loss", *values)
    return Matched(loss, learned, labels, unrolled, cotangents, figures)


def student_descent(state: DistillState, step: DistillStep) -> StudentDescent:
    """Return how the student descends; TESLA's gradient has no use for kept graphs."""
    matching, route = step.matching, step.route
    return StudentDescent(
        student_lr=state.student_lr.value,
        steps=matching.syn_steps,
        momentum=matching.student_momentum,
        keep_graphs=route.student_graph == "kept" and is_exact(matching.gradient),
        keep_every=route.keep_every,
    )


def student_start(step: DistillStep, iteration: int, window: Window, net: FlatNetwork) -> Tensor:
    """Return the student's first parameters: on the trajectory, or perturbed."""
    perturbation = step.matching.perturbation
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
        case Hard() | LearnedLabels():
            return state.labels
        case ExpertLabels():
            return forward_in_batches(net, window.target, state.images.value).softmax(1)
        case _:
            assert_never(step.synthetic.labels)


def match_targets(matching: Matching, window: Window, reached: int) -> list[MatchTarget]:
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
    matching, device = step.matching, labels.device
    generator = random_stream(step.seed, "distill", iteration, "steps")
    batches = student_batches(len(labels), matching.batch_syn, matching.syn_steps, generator)
    families = step.augmentation.families
    draws = [draw_augmentation(families, len(batch), generator) for batch in batches]
    indices = [to_device(batch, device) for batch in batches]
    # A tensor, not a number: a CUDA graph must read the weight of each iteration anew.
    factor = torch.full((), weight, device=device)

    def inputs(i: int, learned: Learnables) -> StepInputs:
        images, *logits = learned
        targets = logits[0][indices[i]].softmax(1) if logits else labels[indices[i]]
        return augment(images[indices[i]], draws[i]), targets, factor

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


@dataclass(frozen=True)
class OuterGradients:
    """The gradient of the matching loss by everything that is learned."""

    by_images: Tensor
    by_logits: list[Tensor]
    """By the label logits; empty unless labels are learned."""
    by_student_lr: Tensor


@dataclass(frozen=True)
class AppliedUpdate:
    """What the guards did with an update."""

    guarded: Guarded
    gradient_norm: float
    """Norm of the gradient by the images, before it was clipped."""
    rate_held: int = 0
    """1 if the learned student_lr was held above zero."""


def apply_update(
    state: DistillState, labels: Tensor, step: DistillStep, gradient: OuterGradients
) -> tuple[DistillState, AppliedUpdate]:
    """Update images, labels and student_lr by their gradients, unless a guard prevents it.

    `labels` are those that the student was taught; a skipped update keeps the labels of before.
    """
    synthetic, limit = step.synthetic, step.matching.gradient_limit
    by_images, guarded = gradient.by_images, Guarded.APPLIED
    norm = float(by_images.norm())
    norms = [norm, *(float(by_logits.norm()) for by_logits in gradient.by_logits)]
    what = "the gradient of the matching loss"
    # Before the limit: NaN compares as false, so it would pass every limit.
    refuse_non_finite(state, synthetic.student_lr, what, *norms)
    if limit is not None and norm > limit.norm:
        match limit.action:
            case "skip":
                return state, AppliedUpdate(Guarded.SKIPPED, norm)
            case "clip":
                by_images, guarded = by_images * (limit.norm / norm), Guarded.CLIPPED
            case _:
                assert_never(limit.action)
    optimiser = SgdOptimiser(synthetic.images.lr, synthetic.images.momentum)
    images = optimiser.step(state.images, by_images)
    student_lr, held = next_student_lr(state, synthetic.student_lr, gradient.by_student_lr)
    changed = replace(state, images=images, labels=labels, student_lr=student_lr)
    changed = with_average(changed, synthetic)
    changed = with_label_logits(changed, state.label_logits, synthetic, gradient.by_logits)
    return changed, AppliedUpdate(guarded, norm, held)


def with_average(state: DistillState, synthetic: Synthetic) -> DistillState:
    """Return the state with the moving average of its images updated, if one is kept."""
    if state.average is None or synthetic.images.moving_average is None:
        return state
    share = 1 - synthetic.images.moving_average
    return replace(state, average=torch.lerp(state.average, state.images.value, share))


def with_label_logits(
    state: DistillState,
    logits: OptimiserState | None,
    synthetic: Synthetic,
    by_logits: list[Tensor],
) -> DistillState:
    """Return the state with its label logits updated, if labels are learned."""
    if logits is None or not isinstance(synthetic.labels, LearnedLabels):
        return state
    optimiser = SgdOptimiser(synthetic.labels.lr, synthetic.labels.momentum)
    # The labels follow from the logits; the next student is taught these.
    logits = optimiser.step(logits, by_logits[0])
    return replace(state, label_logits=logits, labels=logits.value.softmax(1))


def next_student_lr(
    state: DistillState, settings: StudentLr, gradient: Tensor
) -> tuple[OptimiserState, int]:
    """Return the next student_lr, and 1 if it was held back from becoming zero or negative."""
    student_lr = SgdOptimiser(settings.lr, settings.momentum).step(state.student_lr, gradient)
    value = float(student_lr.value)
    if math.isfinite(value) and (value > 0 or settings.positivity == "free"):
        return student_lr, 0
    if math.isfinite(value) and settings.positivity == "hold":
        # The momentum that led below zero is dropped too, or it would do so again.
        return OptimiserState.without_memory(state.student_lr.value), 1
    advice = "lower synthetic.student_lr.lr"
    if math.isfinite(value):
        advice += ', or set synthetic.student_lr.positivity = "hold"'
    raise Diverged(
        cause=f"the learned student_lr became {value:.3g}", advice=advice, at=state.iteration
    )


def refuse_still_expert(iteration: int, matching: Matching, window: Window, at: Tensor) -> None:
    """Raise Diverged if the expert did not move from `at`, which makes the loss undefined."""
    targets = (*window.between, window.target)
    if not all((at - target).square().sum() > 0 for target in targets):
        raise Diverged(
            cause=f"expert {window.expert} does not move in the {matching.expert_epochs:g} "
            f"epochs from epoch {window.epoch:g}",
            advice="raise experts.optimizer.lr or experts.smoothing.clipped_loss.start, or start "
            "later: matching.min_start_epoch",
            at=iteration,
        )


FAR_FROM_FIRST = 10.0
"""Multiple of its first value above which a learned student_lr is blamed for a divergence."""


def refuse_non_finite(state: DistillState, settings: StudentLr, what: str, *values: float) -> None:
    """Raise Diverged if one of the values is not finite."""
    if all(map(math.isfinite, values)):
        return
    student_lr = float(state.student_lr.value)
    if 0 < student_lr < FAR_FROM_FIRST * settings.init:
        advice = (
            "lower synthetic.images.lr, synthetic.student_lr.init or matching.syn_steps; if the "
            "value grew over some iterations, matching.gradient_limit may hold it"
        )
    else:
        advice = f"lower synthetic.student_lr.lr: the learned student_lr is {student_lr:.3g}"
    raise Diverged(cause=f"{what} is not finite", advice=advice, at=state.iteration)
