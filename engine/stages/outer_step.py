"""One iteration of the outer loop: a student's walk, the gradient, and what is learned from it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.spec.synthetic import ExpertLabels, Hard, LearnedLabels
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
    Unrolled,
    adjoint,
    unroll,
)
from ddspec.engine.networks.flat_network import FlatNetwork
from ddspec.engine.numerics.seeds import random_stream, to_device
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.windows import Window
from ddspec.engine.store.artifacts import APPLIED, CLIPPED, SERIES, SKIPPED
from ddspec.engine.training.augmentation import augment, draw_augmentation
from ddspec.engine.training.epoch import OptimiserState, SgdOptimiser, forward_in_batches


def student_of(net: FlatNetwork, step: DistillStep) -> Student:
    """The student of every iteration, on the route of the step."""

    def loss(theta: Tensor, images: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        return weight * F.cross_entropy(net(theta, images), targets)

    return Student(loss, step.route.recorded)


def outer_step(
    state: DistillState, step: DistillStep, window: Window, net: FlatNetwork, student: Student
) -> DistillState:
    """The state after one more iteration. Raises Diverged where a number ran away."""
    began = time.monotonic()
    matching, iteration = step.matching, state.iteration
    start = start_of(step, iteration, window, net)
    labels = labels_of(state, step, window, net)
    weight = weight_of(step, window)
    loss = InnerLoss(student, student_batch(step, iteration, labels, weight))
    learned = [state.images.value]
    if state.label_logits is not None:
        learned.append(state.label_logits.value)
    rate, momentum = state.student_lr.value, matching.student_momentum
    exact = through_steps(matching.gradient)

    keep, every = step.route.student_graph == "kept" and exact, step.route.keep_every
    walk = unroll(loss, start, learned, rate, matching.syn_steps, momentum, keep, every)
    reached = matched_step(matching.matched_step, walk.path, window.target)
    measured_from = reference(step, window, start)
    losses, cotangents = matching_losses(
        walk.path, match_targets(step, window, reached), measured_from
    )
    figures = {
        "matching_loss": float(losses[-1]),
        "intermediate_loss": float(losses[:-1].sum()),
        "start_epoch": window.epoch,
        "expert": window.expert,
        "inner_loss": mean_inner_loss(walk, weight, reached),
        "inner_weight": weight,
        "matched_step": reached,
    }
    if not losses.isfinite().all():
        refuse_still_expert(iteration, step, window, measured_from)
    seen = (figures[name] for name in ("matching_loss", "intermediate_loss", "inner_loss"))
    refuse_non_finite(state, step, "the matching loss", *seen)
    if matching.loss_limit is not None and figures["matching_loss"] > matching.loss_limit:
        changed, applied = state, AppliedUpdate(SKIPPED, gradient_norm=0.0)
    else:
        found, by_rate = adjoint(loss, walk, learned, rate, cotangents, momentum, exact)
        changed, applied = apply_update(state, labels, step, found, by_rate)
    figures |= {
        "student_lr": float(changed.student_lr.value),
        "gradient_norm": applied.gradient_norm,
        "guarded": applied.guarded,
        "rate_held": applied.rate_held,
    }
    series = {name: (*state.series[name], float(figures[name])) for name in SERIES}
    made = state.made.then(step.route, time.monotonic() - began)
    return replace(changed, series=series, made=made)


def start_of(step: DistillStep, iteration: int, window: Window, net: FlatNetwork) -> Tensor:
    """Where the student starts: on the trajectory, or near it."""
    asked = step.matching.perturbation
    if asked is None:
        return window.start
    generator = random_stream(step.seed, "distill", iteration, "perturbation")
    return perturb(window.start, net.shapes, asked.rho, asked.scale, asked.dropout, generator)


def reference(step: DistillStep, window: Window, start: Tensor) -> Tensor:
    """From where the expert's distance to its target is measured."""
    asked = step.matching.perturbation
    return start if asked is not None and asked.denominator == "perturbed" else window.start


def weight_of(step: DistillStep, window: Window) -> float:
    """Weight of the inner loss of a student with that start."""
    asked = step.matching.balanced_inner_loss
    if asked is None:
        return 1.0
    mid = step.matching.max_start_epoch / 2 if asked.mid is None else asked.mid
    return inner_weight(window.epoch, mid, asked.offset, asked.log_base, asked.smooth)


def labels_of(state: DistillState, step: DistillStep, window: Window, net: FlatNetwork) -> Tensor:
    """What the student is taught; learned labels are read from their logits instead.

    Labels of the expert are its softmax at the target on the images as they stand, without
    temperature (soft label assignment of TESLA, arXiv:2211.10586).
    """
    match step.synthetic.labels:
        case Hard() | LearnedLabels():
            return state.labels
        case ExpertLabels():
            return forward_in_batches(net, window.target, state.images.value).softmax(1)
        case _:
            assert_never(step.synthetic.labels)


def match_targets(step: DistillStep, window: Window, reached: int) -> list[MatchTarget]:
    """Where the student is to be: at the target, and on the way there if that is asked."""
    last = MatchTarget(reached, window.target)
    asked = step.matching.intermediate
    if asked is None:
        return [last]
    epochs, steps = len(window.between) + 1, step.matching.syn_steps
    between = [
        MatchTarget(
            intermediate_step(asked.points, index, epochs, steps),
            target,
            intermediate_weight(asked.weights, index, epochs),
        )
        for index, target in enumerate(window.between, start=1)
    ]
    return [*between, last]


def through_steps(name: OuterGradient) -> bool:
    """Whether the gradient goes through the parameters of each student step."""
    match name:
        case "exact":
            return True
        case "tesla":
            return False
        case _:
            assert_never(name)


def mean_inner_loss(walk: Unrolled, weight: float, reached: int) -> float:
    """Mean cross-entropy over the steps that led to the match, without its weight."""
    return float(walk.losses[:reached].mean()) / weight


def student_batch(
    step: DistillStep, iteration: int, labels: Tensor, weight: float
) -> Callable[[int, Learnables], StepInputs]:
    """What each student step is given: its own batch, with its own augmentation, what is taught
    about it, and the weight of its loss.
    """
    matching = step.matching
    generator = random_stream(step.seed, "distill", iteration, "steps")
    batches = student_batches(len(labels), matching.batch_syn, matching.syn_steps, generator)
    draws = [
        draw_augmentation(step.augmentation.families, len(batch), generator) for batch in batches
    ]
    places = [to_device(batch, labels.device) for batch in batches]
    factor = torch.full((), weight, device=labels.device)

    def batch(i: int, learned: Learnables) -> StepInputs:
        images, *logits = learned
        targets = logits[0][places[i]].softmax(1) if logits else labels[places[i]]
        return augment(images[places[i]], draws[i]), targets, factor

    return batch


def student_batches(
    count: int, batch: int | None, steps: int, generator: torch.Generator
) -> list[Tensor]:
    """Which synthetic images each step takes.

    A random order is cut into batches; when it is used up a new one is drawn. The smaller rest
    comes first, because MTT's code takes the pieces from the end.
    """
    pieces: list[Tensor] = []
    batches = []
    for _ in range(steps):
        if not pieces:
            pieces = list(torch.randperm(count, generator=generator).split(batch or count))
        batches.append(pieces.pop())
    return batches


@dataclass(frozen=True)
class AppliedUpdate:
    """What the guards let through of a gradient."""

    guarded: int
    gradient_norm: float
    """Of the gradient by the images, before it was clipped."""
    rate_held: int = 0


def apply_update(
    state: DistillState, labels: Tensor, step: DistillStep, found: list[Tensor], by_rate: Tensor
) -> tuple[DistillState, AppliedUpdate]:
    """Move images, labels and student_lr by their gradients, as far as the guards let them.

    `labels` are what the student was taught; a skipped update leaves those before.
    """
    synthetic, limit = step.synthetic, step.matching.gradient_limit
    by_images, *by_labels = found
    norm, guarded = float(by_images.norm()), APPLIED
    norms = [norm, *(float(gradient.norm()) for gradient in by_labels)]
    refuse_non_finite(state, step, "the gradient of the matching loss", *norms)
    if limit is not None and norm > limit.norm:
        match limit.action:
            case "skip":
                return state, AppliedUpdate(SKIPPED, norm)
            case "clip":
                by_images, guarded = by_images * (limit.norm / norm), CLIPPED
            case _:
                assert_never(limit.action)
    images = SgdOptimiser(synthetic.images.lr, synthetic.images.momentum).step(
        state.images, by_images
    )
    rate, held = next_student_lr(state, step, by_rate)
    changed = replace(state, images=images, labels=labels, student_lr=rate)
    if state.average is not None and synthetic.images.moving_average is not None:
        share = 1 - synthetic.images.moving_average
        changed = replace(changed, average=torch.lerp(state.average, images.value, share))
    if state.label_logits is not None and isinstance(synthetic.labels, LearnedLabels):
        optimiser = SgdOptimiser(synthetic.labels.lr, synthetic.labels.momentum)
        logits = optimiser.step(state.label_logits, by_labels[0])
        changed = replace(changed, label_logits=logits, labels=logits.value.softmax(1))
    return changed, AppliedUpdate(guarded, norm, held)


def next_student_lr(
    state: DistillState, step: DistillStep, by_rate: Tensor
) -> tuple[OptimiserState, int]:
    """The next student_lr, and whether it was held back from becoming zero or negative."""
    asked = step.synthetic.student_lr
    rate = SgdOptimiser(asked.lr, asked.momentum).step(state.student_lr, by_rate)
    value = float(rate.value)
    if math.isfinite(value) and (value > 0 or asked.positivity == "free"):
        return rate, 0
    if math.isfinite(value) and asked.positivity == "hold":
        return OptimiserState.without_memory(state.student_lr.value), 1
    advice = "lower synthetic.student_lr.lr"
    if math.isfinite(value):
        advice += ', or set synthetic.student_lr.positivity = "hold"'
    raise Diverged(
        cause=f"the learned student_lr became {value:.3g}", advice=advice, at=state.iteration
    )


def refuse_still_expert(iteration: int, step: DistillStep, window: Window, at: Tensor) -> None:
    """Raise Diverged where the expert did not move from `at`, so that no distance is measured."""
    targets = (*window.between, window.target)
    if not all((at - target).square().sum() > 0 for target in targets):
        raise Diverged(
            cause=f"expert {window.expert} does not move in the {step.matching.expert_epochs:g} "
            f"epochs from epoch {window.epoch:g}",
            advice="raise experts.optimizer.lr or experts.smoothing.clipped_loss.start, or begin "
            "later: matching.min_start_epoch",
            at=iteration,
        )


FAR_FROM_FIRST = 10.0
"""Times its first value at which a learned rate is named as what ran away."""


def refuse_non_finite(state: DistillState, step: DistillStep, what: str, *values: float) -> None:
    """Raise Diverged where one of the values is no finite number."""
    if all(map(math.isfinite, values)):
        return
    rate, first = float(state.student_lr.value), step.synthetic.student_lr.init
    if 0 < rate < FAR_FROM_FIRST * first:
        advice = (
            "lower synthetic.images.lr, synthetic.student_lr.init or matching.syn_steps; where it "
            "grew over some iterations, matching.gradient_limit may hold it"
        )
    else:
        advice = f"lower synthetic.student_lr.lr: the learned student_lr is {rate:.3g}"
    raise Diverged(cause=f"{what} is no finite number", advice=advice, at=state.iteration)
