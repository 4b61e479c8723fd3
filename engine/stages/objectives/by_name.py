"""The objective that the spec names in `matching.objective`."""

from contextlib import AbstractContextManager
from typing import assert_never

from ddspec.dsl.plan.steps import DistillStep, ExpertsStep, TrajectoryStep
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.objective import Objective
from ddspec.engine.stages.objectives.trajectory import open_trajectory_matching


def open_objective(
    step: DistillStep, source: ExpertsStep | TrajectoryStep, context: StageContext
) -> AbstractContextManager[Objective]:
    """Return the objective of a distillation, open for the block."""
    match step.matching.objective:
        case "trajectory":
            return open_trajectory_matching(step, source, context)
        case _:
            assert_never(step.matching.objective)
