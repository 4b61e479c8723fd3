"""The objective that the spec names in `matching.objective`."""

from contextlib import AbstractContextManager, nullcontext
from typing import assert_never

from ddspec.dsl.plan.steps import DistillStep, ExpertsStep, TrajectoryStep
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import Measurement, Objective
from ddspec.engine.stages.objectives.trajectory import open_trajectory_matching


def open_objective(
    step: DistillStep, experts: ExpertsStep | TrajectoryStep | None, context: StageContext
) -> AbstractContextManager[Objective]:
    """Return the objective of a distillation, open for the block."""
    if not step.matching.iterations:
        return nullcontext(never_asked)
    match step.matching.objective:
        case "trajectory":
            assert experts is not None  # planned with every loop that matches trajectories
            return open_trajectory_matching(step, experts, context)
        case _:
            assert_never(step.matching.objective)


def never_asked(state: DistillState) -> Measurement:
    """Stand for the objective of a loop that has no iterations."""
    raise AssertionError("a loop of no iterations asks its objective nothing")
