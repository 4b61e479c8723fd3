"""The objective that the spec names in `matching.objective`."""

from contextlib import AbstractContextManager, nullcontext
from typing import assert_never

from ddspec.dsl.plan.steps import DistillStep, ExpertsStep, TrajectoryStep
from ddspec.dsl.spec.objectives.classes import (
    DistributionMatching,
    ExtensionMatching,
    FeatureMatching,
    GradientMatching,
)
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import IterationEnd, Objective, Update
from ddspec.engine.stages.objectives.distribution import open_distribution_matching
from ddspec.engine.stages.objectives.extension import open_extension_matching
from ddspec.engine.stages.objectives.feature import open_feature_matching
from ddspec.engine.stages.objectives.gradient import open_gradient_matching
from ddspec.engine.stages.objectives.kernel import open_kernel
from ddspec.engine.stages.objectives.performance import open_performance
from ddspec.engine.stages.objectives.trajectory import open_trajectory_matching


def open_objective(
    step: DistillStep, experts: ExpertsStep | TrajectoryStep | None, context: StageContext
) -> AbstractContextManager[Objective]:
    """Return the objective of a distillation, open for the block."""
    if not step.matching.iterations:
        return nullcontext(never_asked)
    match step.matching:
        case TrajectoryMatching():
            assert experts is not None  # planned with every loop that matches trajectories
            return open_trajectory_matching(step, experts, context)
        case GradientMatching():
            return open_gradient_matching(step, step.matching, context)
        case DistributionMatching():
            return open_distribution_matching(step, step.matching, context)
        case FeatureMatching():
            return open_feature_matching(step, step.matching, context)
        case Performance():
            return open_performance(step, step.matching, context)
        case Kernel():
            return open_kernel(step, step.matching, context)
        case ExtensionMatching():
            return open_extension_matching(step, step.matching, context)
        case _:
            assert_never(step.matching)


def never_asked(state: DistillState, update: Update) -> IterationEnd:
    """Stand for the objective of a loop that has no iterations."""
    raise AssertionError("a loop of no iterations asks its objective nothing")
