"""Independent tasks in a pool of processes.

On a CPU, two networks that train on a core each finish sooner than one after the other on both
cores. Processes are forked, so that images lie in memory once; each writes its results into the
store, or returns small ones. The result of a task does not depend on what runs beside it. A
process has one thread, because torch's other threads do not survive a fork.
"""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Generic, TypeVar

import torch

from ddspec.dsl.diagnostics import DdspecError, MachineError
from ddspec.engine.control import Control, Diverged, Interrupted, Progress
from ddspec.engine.machine.memory import memory_in_use, peak_bytes, reset_peak

Task = TypeVar("Task")
TaskResult = TypeVar("TaskResult")

CPU_DEVICE = torch.device("cpu")
POLL_SECONDS = 0.2
"""Seconds that may pass until workers learn of a signal."""


def run_in_processes(
    work: Callable[[Task, Control], TaskResult],
    tasks: Sequence[Task],
    processes: int,
    control: Control,
    done: int,
    total: int,
) -> Generator[TaskResult]:
    """Yield the result of `work` for each task, in their order, up to `processes` at once.

    Tasks report their own progress; it is passed on as that of the step, of whose `total` units
    `done` were there before. When a task fails, no further ones begin, those that run are
    finished, and the error of the first failed task in their order is raised, as if the tasks
    had run one by one. On systems that cannot fork they do run one by one, with the same numbers.
    """
    progress = SharedProgress(control, done, total, {})
    if processes == 1 or len(tasks) == 1 or not sys.platform.startswith("linux"):
        for number, task in enumerate(tasks):
            yield work(task, progress.control_of_task(number))
        return
    # Thread pools do not survive a fork; waiting for one in the child would deadlock.
    torch.set_num_threads(1)
    pool: ProcessPool[Task, TaskResult] = ProcessPool(work, tasks, progress)
    try:
        yield from pool.results(processes)
    finally:
        pool.stop()


@dataclass(frozen=True)
class SharedProgress:
    """The progress of a step, added up over its tasks."""

    control: Control
    before: int
    total: int
    done: dict[int, int]
    """Units done, by task."""

    def control_of_task(self, number: int) -> Control:
        """Return the control of a task that runs in this process."""
        return Control(
            lambda progress: self.report(number, progress),
            self.control.save_every,
            parent_signal=self.control.signalled,
        )

    def report(self, number: int, progress: Progress) -> None:
        """Report the step's progress after a task has reported its own."""
        self.done[number] = progress.done
        done = self.before + sum(self.done.values())
        self.control.report(Progress(progress.step, done, self.total, progress.figures))


@dataclass(frozen=True)
class TaskEnded:
    """The message that a worker sends when a task has ended."""

    result: Any
    error: Exception | None
    memory_bytes: int
    """The worker's peak memory, without what it shares with its parent."""


@dataclass
class Worker:
    """A process, and the number of the task that it works on."""

    process: ForkProcess
    pipe: Connection
    task: int | None = None


@dataclass
class ProcessPool(Generic[Task, TaskResult]):
    """Processes that work on one task after another."""

    work: Callable[[Task, Control], TaskResult]
    tasks: Sequence[Task]
    progress: SharedProgress
    workers: list[Worker] = field(default_factory=list)
    ended: dict[int, TaskEnded] = field(default_factory=dict)
    """Tasks whose results are not yielded yet."""

    def __post_init__(self) -> None:
        self.context = get_context("fork")
        self.stop_signal = self.context.Value("i", 0, lock=False)
        """The signal that asks workers to stop, in shared memory; 0 if there is none."""

    def results(self, processes: int) -> Iterator[TaskResult]:
        """Yield the results of all tasks, in their order."""
        assigned = yielded = 0
        while yielded < len(self.tasks):
            while assigned < len(self.tasks) and (worker := self.free_worker(processes)):
                worker.pipe.send(assigned)
                worker.task = assigned
                assigned += 1
            self.receive_messages()
            # An error is raised only after the tasks that run have finished.
            while yielded in self.ended and (not self.ended[yielded].error or not self.busy):
                task = self.ended.pop(yielded)
                if task.error is not None:
                    raise task.error
                yield task.result
                yielded += 1

    @property
    def busy(self) -> list[Worker]:
        """Workers that have a task."""
        return [worker for worker in self.workers if worker.task is not None]

    def free_worker(self, processes: int) -> Worker | None:
        """Return a worker for the next task; None if all are busy or a task has failed."""
        if any(task.error is not None for task in self.ended.values()):
            return None
        idle = next((worker for worker in self.workers if worker.task is None), None)
        return idle or (self.start() if len(self.workers) < processes else None)

    def start(self) -> Worker:
        """Start another process."""
        pipe, worker_pipe = self.context.Pipe()
        process = self.context.Process(target=self.serve, args=(worker_pipe,), daemon=True)
        with warnings.catch_warnings():
            # Python warns that a fork loses threads; torch's are not used after it.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        worker_pipe.close()
        self.workers.append(Worker(process, pipe))
        return self.workers[-1]

    def receive_messages(self) -> None:
        """Receive what workers have sent, and pass a signal on to them."""
        ready = wait([worker.pipe for worker in self.busy], POLL_SECONDS)
        for worker in self.busy:
            if worker.pipe in ready:
                self.receive(worker)
        self.stop_signal.value = self.progress.control.signalled() or 0

    def receive(self, worker: Worker) -> None:
        """Receive one message of a worker."""
        assert worker.task is not None
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            message = TaskEnded(None, worker_lost_error(worker.process.exitcode), 0)
        if isinstance(message, Progress):
            self.progress.report(worker.task, message)
            return
        control = self.progress.control
        control.workers_bytes = max(control.workers_bytes, len(self.workers) * message.memory_bytes)
        self.ended[worker.task] = message
        worker.task = None

    def stop(self) -> None:
        """Kill all processes, whatever they are doing."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()

    def serve(self, pipe: Connection) -> None:
        """Work on the tasks that arrive; send progress and results. Runs in a worker."""
        # Signals of a terminal reach every process. The parent alone handles them: it asks
        # workers to stop, and kills them after a second signal.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        parent = os.getppid()
        reset_peak(CPU_DEVICE)
        base = memory_in_use()

        def parent_signal() -> int | None:
            if os.getppid() != parent:
                os._exit(1)  # The parent was killed, so nobody waits for the result.
            return self.stop_signal.value or None

        while True:
            while not pipe.poll(POLL_SECONDS):
                parent_signal()
            save_every = self.progress.control.save_every
            control = Control(pipe.send, save_every, parent_signal=parent_signal)
            result, error = None, None
            try:
                result = self.work(self.tasks[pipe.recv()], control)
            except Exception as exception:
                if not isinstance(exception, Interrupted | Diverged | DdspecError):
                    exception.add_note(traceback.format_exc())
                error = exception
            pipe.send(TaskEnded(result, error, peak_bytes(CPU_DEVICE) - base))


def worker_lost_error(exit_code: int | None) -> MachineError:
    """Return the error for a worker that ended without sending a result."""
    return MachineError(
        f"a worker process was ended from outside ({exit_code})",
        hint="most often because memory ran out; everything finished before is kept",
    )
