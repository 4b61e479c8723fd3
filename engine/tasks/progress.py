"""The progress of a run: that of each step, added up over its tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ddspec.dsl.plan.steps import Plan
from ddspec.engine.control import Control, Progress
from ddspec.engine.tasks.tasks import Task, unit_of_step, units_of_step, units_of_task


@dataclass
class RunProgress:
    """Passes the progress of tasks on as that of their steps."""

    plan: Plan
    control: Control
    totals: dict[str, int] = field(default_factory=dict)
    """Units of each step, such as the epochs of all its experts."""
    missing: dict[str, int] = field(default_factory=dict)
    """Those of the tasks that were left when the run began."""
    done: dict[str, dict[Task, int | float]] = field(default_factory=dict)
    """Units done since, by step and task."""

    def expect(self, tasks: Sequence[Task]) -> None:
        """Count the units of the tasks that are left, and report what is done of every step."""
        self.totals = {step.id: units_of_step(step) for step in self.plan.steps}
        self.missing = {
            step.id: sum(units_of_task(task, step) for task in tasks if task.step == step.id)
            for step in self.plan.steps
        }
        self.done = {step.id: {} for step in self.plan.steps}
        for step in self.plan.steps:
            self.report_step(step.id, {})

    def begin(self, task: Task) -> None:
        """Report that a task begins."""
        self.report_step(task.step, {})

    def complete(self, task: Task) -> None:
        """Report that all of a task is done, unless it reported so itself."""
        units = units_of_task(task, self.plan.step(task.step))
        if self.done[task.step].get(task) != units:
            self.report(task, Progress(task.step, units, units, {}))

    def report(self, task: Task, progress: Progress) -> None:
        """Report the step's progress after a task has reported its own."""
        self.done[task.step][task] = progress.done
        self.report_step(task.step, progress.figures)

    def report_step(self, step: str, figures: dict[str, float]) -> None:
        """Report the units of a step that are done, by earlier runs and by this one."""
        total = self.totals[step]
        done = total - self.missing[step] + sum(self.done[step].values())
        unit = unit_of_step(self.plan.step(step))
        self.control.report(Progress(step, min(done, total), total, figures, unit))
