"""Several tasks at once on the cores of this machine, in forked processes.

A task whose route has several threads uses all cores, and is performed in this process while no
other one runs.
"""

from dataclasses import dataclass, field, replace

from ddspec.dsl.plan.steps import Plan
from ddspec.engine.control import Control
from ddspec.engine.machine.environment import usable_cores
from ddspec.engine.machine.memory import memory_in_use, total_memory
from ddspec.engine.machine.processes import CPU_DEVICE, ProcessPool, TaskEnded, WorkerLost
from ddspec.engine.tasks.executor import Performer
from ddspec.engine.tasks.perform import TaskResult
from ddspec.engine.tasks.progress import RunProgress
from ddspec.engine.tasks.serial_executor import perform_here
from ddspec.engine.tasks.tasks import Task

MOST_LOSSES = 3
"""How often a task is done again after its worker was ended from outside."""


@dataclass
class ProcessExecutor:
    """Gives tasks to worker processes, as many at once as the plan's routes allow."""

    perform: Performer
    control: Control
    progress: RunProgress
    plan: Plan
    finished: list[TaskEnded[Task]] = field(default_factory=list)
    """Tasks that were performed in this process."""
    losses: dict[Task, int] = field(default_factory=dict)
    """How often each task has lost its worker."""

    def __post_init__(self) -> None:
        self.pool: ProcessPool[Task, TaskResult] = ProcessPool(
            self.perform, self.control, self.progress.report
        )
        most = max(step.processes for step in self.plan.steps)
        # A plan may be a stranger's, or made for a larger machine.
        self.most_processes = min(most, usable_cores())

    @property
    def running(self) -> list[Task]:
        """Return the tasks of all workers."""
        return [*self.pool.running, *(ended.task for ended in self.finished)]

    def fits(self, task: Task) -> bool:
        """Return whether cores are free for the task; each step names how many fit at once."""
        running = self.running
        if self.uses_all_cores(task):
            return not running
        if not running:
            return True
        together = [*running, task]
        memory, limit = sum(map(self.memory_bytes, together)), total_memory(CPU_DEVICE)
        return (
            sum(map(self.share, together)) <= 1 + 1e-9
            and not any(map(self.uses_all_cores, running))
            and (not limit or memory <= limit)
        )

    def memory_bytes(self, task: Task) -> float:
        """Return the memory that a task is estimated to need."""
        step = self.plan.step(task.step)
        return step.estimate.memory_bytes / step.processes

    def share(self, task: Task) -> float:
        """Return the part of the machine that a task takes."""
        processes = self.plan.step(task.step).processes
        # A step of a single task says nothing about how many such tasks would fit.
        at_once = self.most_processes if processes == 1 else processes
        return 1 / min(at_once, self.most_processes)

    def uses_all_cores(self, task: Task) -> bool:
        """Return whether a task's route has several threads."""
        return self.plan.step(task.step).route.threads > 1

    def start(self, task: Task) -> None:
        """Give the task to a worker, or perform it here if it needs all cores."""
        if self.uses_all_cores(task):
            self.finished.append(perform_here(task, self.perform, self.control, self.progress))
        else:
            self.pool.start(task)

    def ended(self) -> list[TaskEnded[Task]]:
        """Return the tasks that have ended; those of lost workers are begun again first."""
        if self.finished:
            finished, self.finished = self.finished, []
            return finished
        ended = []
        for task in self.pool.ended():
            losses = self.losses.get(task.task, 0)
            if isinstance(task.error, WorkerLost) and losses < MOST_LOSSES:
                self.losses[task.task] = losses + 1
                self.control.say(f"{task.task.step}: {task.error}; it is done again")
                self.pool.start(task.task)
            else:
                workers = len(self.pool.workers) * task.memory_bytes
                ended.append(replace(task, memory_bytes=memory_in_use() + workers))
        return ended

    def stop(self) -> None:
        """Kill all workers."""
        self.pool.stop()
