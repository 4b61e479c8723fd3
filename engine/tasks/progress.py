"""The progress of a run: that of each step, added up over its tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ddspec.dsl.plan.steps import Plan
from ddspec.engine.control import Control, Progress
from ddspec.engine.tasks.tasks import Task, units_of_step, units_of_task


@dataclass
class RunProgress:
    """Passes the progress of tasks on as that of their steps."""

    plan: Plan
    control: Control
    totals: dict[str, int] = field(default_factory=dict)
    """Units of each step, such as the epochs of all its experts."""
    missing: dict[str, int] = field(default_factory=dict)
    """Those of the tasks that were left when the run began."""
    done: dict[str, dict[Task, int]] = field(default_factory=dict)
    """Units done since, by step and task."""

    def expect(self, tasks: Sequence[Task]) -> None:
        """Count the units of the tasks that are left."""
        self.totals = {step.id: units_of_step(step) for step in self.plan.steps}
        self.missing = {
            step.id: sum(units_of_task(task, step) for task in tasks if task.step == step.id)
            for step in self.plan.steps
        }
        self.done = {step.id: {} for step in self.plan.steps}

    def complete(self, task: Task) -> None:
        """Report that all of a task was done by somebody else."""
        units = units_of_task(task, self.plan.step(task.step))
        self.report(task, Progress(task.step, units, units, {}))

    def report(self, task: Task, progress: Progress) -> None:
        """Report the step's progress after a task has reported its own."""
        self.done[task.step][task] = progress.done
        total = self.totals[task.step]
        done = total - self.missing[task.step] + sum(self.done[task.step].values())
        self.control.report(Progress(task.step, min(done, total), total, progress.figures))
