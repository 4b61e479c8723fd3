"""One task after another in this process."""

from dataclasses import dataclass, field

from ddspec.engine.control import Control, Diverged, Interrupted
from ddspec.engine.machine.processes import TaskEnded
from ddspec.engine.tasks.executor import Performer
from ddspec.engine.tasks.progress import RunProgress
from ddspec.engine.tasks.tasks import Task


@dataclass
class SerialExecutor:
    """Performs a task at once, when it is started."""

    perform: Performer
    control: Control
    progress: RunProgress
    finished: list[TaskEnded[Task]] = field(default_factory=list)

    @property
    def running(self) -> list[Task]:
        """Return the task whose end was not asked for yet, if there is one."""
        return [ended.task for ended in self.finished]

    def fits(self, task: Task) -> bool:
        """Return whether no other task is left."""
        return not self.finished

    def start(self, task: Task) -> None:
        """Perform the task."""
        self.finished.append(perform_here(task, self.perform, self.control, self.progress))

    def ended(self) -> list[TaskEnded[Task]]:
        """Return how the task ended."""
        finished, self.finished = self.finished, []
        return finished

    def stop(self) -> None:
        """Do nothing: no task runs between two calls."""


def perform_here(
    task: Task, perform: Performer, control: Control, progress: RunProgress
) -> TaskEnded[Task]:
    """Perform a task in this process; return its result or its error."""
    own = Control(
        lambda report: progress.report(task, report),
        control.save_every,
        parent_signal=control.signalled,
        say=control.say,
    )
    try:
        result = perform(task, own)
    except (Diverged, Interrupted, Exception) as error:
        return TaskEnded(task, error=error)
    return TaskEnded(task, result, memory_bytes=result.memory_bytes)
