"""One iteration of the outer loop: the objective measures, and the synthetic set is updated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import assert_never

import torch
from torch import Tensor

from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.record.series import Guarded
from ddspec.dsl.spec.objectives.classes import (
    DistributionMatching,
    ExtensionMatching,
    FeatureMatching,
    GradientMatching,
)
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.objectives.outer_loop import GradientLimit
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.dsl.spec.synthetic import (
    AdamImages,
    CosineDecay,
    ExpertLabels,
    Hard,
    Images,
    LambImages,
    LearnedLabels,
    LrDrops,
    RegressionLabels,
    SgdImages,
    StudentLr,
    Synthetic,
    UnnormalizedLabels,
)
from ddspec.engine.control import Diverged
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import Measurement, Objective
from ddspec.engine.training.optimisers import (
    AdamOptimiser,
    LambOptimiser,
    Optimiser,
    OptimiserState,
    SgdOptimiser,
)
from ddspec.engine.training.soft_labels import taught, within_bounds


def outer_step(state: DistillState, step: DistillStep, objective: Objective) -> DistillState:
    """Return the state after one more iteration; raise Diverged if a number is not finite."""
    updates: list[AppliedUpdate] = []

    def update(current: DistillState, measured: Measurement) -> DistillState:
        changed, applied = guarded_update(current, measured, step)
        updates.append(applied)
        return changed

    end = objective(state, update)
    figures = end.figures | figures_of(updates)
    if isinstance(step.matching, TrajectoryMatching):
        figures["student_lr"] = float(end.state.student_lr.value)
        figures["rate_held"] = max(applied.rate_held for applied in updates)
    return replace(
        end.state,
        iteration=state.iteration + 1,
        series={
            name: (*values, float(figures[name])) if name in figures else values
            for name, values in state.series.items()
        },
        class_losses=class_losses_of(updates),
        carried=end.carried | kept_by_guards(end.state),
    )


def kept_by_guards(state: DistillState) -> dict[str, float]:
    """Return what the limits need in the next iteration."""
    return {name: value for name, value in state.carried.items() if name == MEAN_NORM}


@dataclass(frozen=True)
class AppliedUpdate:
    """A measurement, and what the guards did with its update."""

    measured: Measurement
    guarded: Guarded
    gradient_norm: float
    """Norm of the gradient by the images, before it was clipped."""
    rate_held: int = 0
    """1 if the learned student_lr was held above zero."""


def figures_of(updates: Sequence[AppliedUpdate]) -> dict[str, float]:
    """Return the series of an iteration: means over its updates, and the strongest guard."""
    return {
        name: fmean(applied.measured.figures[name] for applied in updates)
        for name in updates[0].measured.figures
    } | {
        "gradient_norm": fmean(applied.gradient_norm for applied in updates),
        "guarded": max(applied.guarded for applied in updates),
    }


def class_losses_of(updates: Sequence[AppliedUpdate]) -> Tensor | None:
    """Return the mean over an iteration's updates of the loss of each class, if it has any."""
    losses = [applied.measured.class_losses for applied in updates]
    known = [tensor for tensor in losses if tensor is not None]
    return torch.stack(known).mean(0) if known else None


def guarded_update(
    state: DistillState, measured: Measurement, step: DistillStep
) -> tuple[DistillState, AppliedUpdate]:
    """Update the synthetic set, unless the loss is above its limit."""
    limit = step.matching.loss_limit
    refuse_non_finite(state, step, "the loss", *measured.figures.values())
    if limit is not None and measured.loss > limit:
        # Decided before the gradient, which is the expensive half of a measurement.
        return state, AppliedUpdate(measured, Guarded.SKIPPED, gradient_norm=0.0)
    return apply_update(state, measured, step)


def apply_update(
    state: DistillState, measured: Measurement, step: DistillStep
) -> tuple[DistillState, AppliedUpdate]:
    """Update images, labels and student_lr by their gradients, unless a guard prevents it.

    A skipped update keeps the labels of before, not those that the student was taught.
    """
    synthetic, limit, gradient = step.synthetic, step.matching.gradient_limit, measured.gradient()
    by_images, guarded = gradient.by_images, Guarded.APPLIED
    norm = float(by_images.norm())
    norms = [norm]
    if gradient.by_labels is not None:
        norms.append(float(gradient.by_labels.norm()))
    what = "the gradient of the loss"
    # Before the limit: NaN compares as false, so it would pass every limit.
    refuse_non_finite(state, step, what, *norms)
    if limit is not None:
        most, state = largest_norm(limit, norm, state)
        if norm > most:
            match limit.action:
                case "skip":
                    return state, AppliedUpdate(measured, Guarded.SKIPPED, norm)
                case "clip":
                    by_images, guarded = by_images * (most / norm), Guarded.CLIPPED
                case _:
                    assert_never(limit.action)
    images = images_optimiser(synthetic.images, state.iteration).step(state.images, by_images)
    student_lr, held = next_student_lr(state, synthetic.student_lr, gradient.by_student_lr)
    changed = replace(state, images=images, labels=measured.labels, student_lr=student_lr)
    changed = with_average(changed, synthetic)
    changed = with_learned_labels(changed, synthetic, gradient.by_labels)
    return changed, AppliedUpdate(measured, guarded, norm, held)


MEAN_NORM = "mean gradient norm"
"""Name of what an iteration carries to the next one if the gradient is limited by its average."""


def largest_norm(
    limit: GradientLimit, norm: float, state: DistillState
) -> tuple[float, DistillState]:
    """Return the largest norm that an update may have, and the state with the average moved on."""
    if limit.over_mean is None:
        assert limit.norm is not None  # One of the two is given.
        return limit.norm, state
    before = state.carried.get(MEAN_NORM, norm)
    mean = before + (1 - limit.mean_decay) * (norm - before)
    return limit.over_mean * mean, replace(state, carried={**state.carried, MEAN_NORM: mean})


def images_optimiser(images: Images, iteration: int) -> Optimiser:
    """Return the optimiser of the pixels in an iteration, after the drops of its learning rate."""
    lr = images.lr * lr_share(images.lr_decay, iteration)
    match images.optimizer:
        case SgdImages():
            return SgdOptimiser(lr, images.momentum)
        case AdamImages(beta1=beta1, beta2=beta2, epsilon=epsilon):
            return AdamOptimiser(lr, beta1, beta2, epsilon)
        case LambImages(beta1=beta1, beta2=beta2, epsilon=epsilon):
            return LambOptimiser(lr, beta1, beta2, epsilon)
        case _:
            assert_never(images.optimizer)


def lr_share(decay: LrDrops | CosineDecay | None, iteration: int) -> float:
    """Return the share of the pixels' learning rate that an iteration has."""
    match decay:
        case None:
            return 1.0
        case LrDrops(iterations=drops, factor=factor):
            return float(factor ** sum(iteration >= drop for drop in drops))
        case CosineDecay(iterations=length, final=final):
            done = min(1.0, iteration / length)
            return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
        case _:
            assert_never(decay)


def with_average(state: DistillState, synthetic: Synthetic) -> DistillState:
    """Return the state with the moving average of its images updated, if one is kept."""
    if state.average is None or synthetic.images.moving_average is None:
        return state
    share = 1 - synthetic.images.moving_average
    return replace(state, average=torch.lerp(state.average, state.images.value, share))


def with_learned_labels(
    state: DistillState, synthetic: Synthetic, gradient: Tensor | None
) -> DistillState:
    """Return the state with its labels updated, if they are learned."""
    learned, form = state.learned_labels, synthetic.labels
    if learned is None or gradient is None or isinstance(form, Hard | ExpertLabels):
        return state
    learned = labels_optimiser(form, synthetic.images, state.iteration).step(learned, gradient)
    learned = replace(learned, value=within_bounds(form, learned.value))
    # The next student is taught these.
    return replace(state, learned_labels=learned, labels=taught(form, learned.value))


def labels_optimiser(
    form: LearnedLabels | UnnormalizedLabels | RegressionLabels, images: Images, iteration: int
) -> Optimiser:
    """Return the optimiser of learned labels in an iteration."""
    if isinstance(form, LearnedLabels):
        return SgdOptimiser(form.lr, form.momentum)
    return images_optimiser(images.model_copy(update={"lr": form.lr}), iteration)


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


def refuse_non_finite(state: DistillState, step: DistillStep, what: str, *values: float) -> None:
    """Raise Diverged if one of the values is not finite."""
    if not all(map(math.isfinite, values)):
        advice = advice_on_divergence(state, step)
        raise Diverged(cause=f"{what} is not finite", advice=advice, at=state.iteration)


def advice_on_divergence(state: DistillState, step: DistillStep) -> str:
    """Return which keys of the spec to change after a number became non-finite."""
    limited = "; if the value grew over some iterations, matching.gradient_limit may hold it"
    match step.matching:
        case TrajectoryMatching():
            student_lr = float(state.student_lr.value)
            if 0 < student_lr < FAR_FROM_FIRST * step.synthetic.student_lr.init:
                keys = "synthetic.images.lr, synthetic.student_lr.init or matching.syn_steps"
                return f"lower {keys}{limited}"
            return f"lower synthetic.student_lr.lr: the learned student_lr is {student_lr:.3g}"
        case GradientMatching() | FeatureMatching():
            return f"lower synthetic.images.lr or matching.student.lr{limited}"
        case Performance():
            return f"lower synthetic.images.lr or matching.student_lr{limited}"
        case Kernel():
            return f"raise matching.ridge or lower synthetic.images.lr{limited}"
        case DistributionMatching() | ExtensionMatching():
            return f"lower synthetic.images.lr{limited}"
        case _:
            assert_never(step.matching)
