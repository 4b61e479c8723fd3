"""One iteration of the outer loop: ask the objective, then update the synthetic set."""

import math
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from torch import Tensor

from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.record.series import Guarded
from ddspec.dsl.spec.synthetic import LearnedLabels, StudentLr, Synthetic
from ddspec.engine.control import Diverged
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import Objective, ObjectiveGradient
from ddspec.engine.training.optimisers import OptimiserState, SgdOptimiser


def outer_step(state: DistillState, step: DistillStep, objective: Objective) -> DistillState:
    """Return the state after one more iteration; raise Diverged if a number is not finite."""
    measured, limit = objective(state), step.matching.loss_limit
    settings = step.synthetic.student_lr
    refuse_non_finite(state, settings, "the matching loss", *measured.figures.values())
    if limit is not None and measured.loss > limit:
        # Decided before the gradient, which is the expensive half of an iteration.
        changed, applied = state, AppliedUpdate(Guarded.SKIPPED, gradient_norm=0.0)
    else:
        changed, applied = apply_update(state, measured.labels, step, measured.gradient())
    figures = measured.figures | {
        "student_lr": float(changed.student_lr.value),
        "gradient_norm": applied.gradient_norm,
        "guarded": applied.guarded,
        "rate_held": applied.rate_held,
    }
    return replace(
        changed,
        iteration=state.iteration + 1,
        series={
            name: (*values, float(figures[name])) if name in figures else values
            for name, values in state.series.items()
        },
        carried=measured.carried,
    )


@dataclass(frozen=True)
class AppliedUpdate:
    """What the guards did with an update."""

    guarded: Guarded
    gradient_norm: float
    """Norm of the gradient by the images, before it was clipped."""
    rate_held: int = 0
    """1 if the learned student_lr was held above zero."""


def apply_update(
    state: DistillState, labels: Tensor, step: DistillStep, gradient: ObjectiveGradient
) -> tuple[DistillState, AppliedUpdate]:
    """Update images, labels and student_lr by their gradients, unless a guard prevents it.

    `labels` are those that the student was taught; a skipped update keeps the labels of before.
    """
    synthetic, limit = step.synthetic, step.matching.gradient_limit
    by_images, guarded = gradient.by_images, Guarded.APPLIED
    norm = float(by_images.norm())
    norms = [norm]
    if gradient.by_label_logits is not None:
        norms.append(float(gradient.by_label_logits.norm()))
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
    changed = with_label_logits(changed, synthetic, gradient.by_label_logits)
    return changed, AppliedUpdate(guarded, norm, held)


def with_average(state: DistillState, synthetic: Synthetic) -> DistillState:
    """Return the state with the moving average of its images updated, if one is kept."""
    if state.average is None or synthetic.images.moving_average is None:
        return state
    share = 1 - synthetic.images.moving_average
    return replace(state, average=torch.lerp(state.average, state.images.value, share))


def with_label_logits(
    state: DistillState, synthetic: Synthetic, gradient: Tensor | None
) -> DistillState:
    """Return the state with its label logits updated, if labels are learned."""
    logits, labels = state.label_logits, synthetic.labels
    if logits is None or gradient is None or not isinstance(labels, LearnedLabels):
        return state
    optimiser = SgdOptimiser(labels.lr, labels.momentum)
    # The labels follow from the logits; the next student is taught these.
    logits = optimiser.step(logits, gradient)
    return replace(state, label_logits=logits, labels=logits.value.softmax(1))


FAR_FROM_FIRST = 10.0
"""Multiple of its first value above which a learned student_lr is blamed for a divergence."""


def next_student_lr(
    state: DistillState, settings: StudentLr, gradient: Tensor | None
) -> tuple[OptimiserState, int]:
    """Return the next student_lr, and 1 if it was held back from becoming zero or negative."""
    if gradient is None:
        return state.student_lr, 0
    student_lr = SgdOptimiser(settings.lr, settings.momentum).step(state.student_lr, gradient)
    value = float(student_lr.value)
    if math.isfinite(value) and (value > 0 or settings.positivity == "free"):
        return student_lr, 0
    if math.isfinite(value) and settings.positivity == "hold":
        # The momentum that led below zero is dropped too, or it would do so again.
        return OptimiserState.without_memory(state.student_lr.value), 1
    keys = "synthetic.student_lr.lr"
    if abs(value) > FAR_FROM_FIRST * settings.init:
        # A step that long comes from the gradient of a student that overshoots.
        keys = f"synthetic.student_lr.init, which is {settings.init:g}, or {keys}"
    advice = f"lower {keys}"
    if math.isfinite(value):
        advice += ', or set synthetic.student_lr.positivity = "hold"'
    raise Diverged(
        cause=f"the learned student_lr became {value:.3g}", advice=advice, at=state.iteration
    )


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
