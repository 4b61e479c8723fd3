"""What an executor is: it decides who performs a task, and nothing else."""

from collections.abc import Callable, Sequence
from typing import Protocol

from ddspec.engine.control import Control
from ddspec.engine.machine.processes import TaskEnded
from ddspec.engine.tasks.perform import TaskResult
from ddspec.engine.tasks.tasks import Task

Performer = Callable[[Task, Control], TaskResult]
"""Carries out a task under a control."""


class Executor(Protocol):
    """Starts tasks and tells how they ended; whoever performs them, the artifacts are the same."""

    @property
    def running(self) -> Sequence[Task]:
        """Tasks that were started and not yet returned by `ended`."""

    def fits(self, task: Task) -> bool:
        """Return whether the task can be started beside those that run."""

    def start(self, task: Task) -> None:
        """Start a task that fits."""

    def ended(self) -> Sequence[TaskEnded[Task]]:
        """Return tasks that have ended, after waiting a moment if none has."""

    def stop(self) -> None:
        """End all that runs at once; what is not saved is lost."""
