"""Independent tasks side by side, each in a process of its own.

On a CPU two networks on a core each train faster than one after the other on both. Processes are
forked, so that images lie in memory once; each writes its results into the store, or hands over
small ones. What a task computes does not depend on what runs beside it. A process has one thread:
torch's others do not live through a fork.
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
Result = TypeVar("Result")

CPU = torch.device("cpu")
LISTEN_SECONDS = 0.2
"""How long a signal may wait until workers are told."""


def run_in_processes(
    work: Callable[[Task, Control], Result],
    tasks: Sequence[Task],
    processes: int,
    control: Control,
    done: int,
    total: int,
) -> Generator[Result]:
    """What `work` makes of each task, in their order, up to `processes` of them at once.

    A task reports its own progress; it is told on as that of the step, of which `done` units of
    `total` were there before. Where tasks fail, no others begin, those that run come to their
    end, and the fault of the first of them in their order is raised, as if one had come after
    the other. Where a process cannot be forked, one does come after the other, with the same
    numbers.
    """
    tally = SharedProgress(control, done, total, {})
    if processes == 1 or len(tasks) == 1 or not sys.platform.startswith("linux"):
        for number, task in enumerate(tasks):
            yield work(task, tally.part(number))
        return
    # A pool of threads does not live through a fork, and who waits for it waits for ever.
    torch.set_num_threads(1)
    crew: ProcessPool[Task, Result] = ProcessPool(work, tasks, tally)
    try:
        yield from crew.results(processes)
    finally:
        crew.dismiss()


@dataclass(frozen=True)
class SharedProgress:
    """Adds up how far tasks are."""

    control: Control
    before: int
    total: int
    done: dict[int, int]
    """Units done by task."""

    def part(self, number: int) -> Control:
        """The control of one task in this process."""
        return Control(
            lambda progress: self.told(number, progress),
            self.control.save_every,
            whole=self.control.signalled,
        )

    def told(self, number: int, progress: Progress) -> None:
        """Tell on how far the step is, as a task got on."""
        self.done[number] = progress.done
        done = self.before + sum(self.done.values())
        self.control.report(Progress(progress.step, done, self.total, progress.figures))


@dataclass(frozen=True)
class TaskEnded:
    """What a worker says when a task is done."""

    result: Any
    fault: Exception | None
    memory_bytes: int
    """The most that it held, beside what it shares with its parent."""


@dataclass
class Worker:
    """A process, and the task that it is at."""

    process: ForkProcess
    pipe: Connection
    task: int | None = None


@dataclass
class ProcessPool(Generic[Task, Result]):
    """Processes that take up one task after another."""

    work: Callable[[Task, Control], Result]
    tasks: Sequence[Task]
    tally: SharedProgress
    workers: list[Worker] = field(default_factory=list)
    ended: dict[int, TaskEnded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.context = get_context("fork")
        self.stop = self.context.Value("i", 0, lock=False)
        """Number of the signal that asks workers to stop, in memory that they share."""

    def results(self, processes: int) -> Iterator[Result]:
        """Of every task, in their order."""
        begun = given = 0
        while given < len(self.tasks):
            while begun < len(self.tasks) and (worker := self.free_worker(processes)):
                worker.pipe.send(begun)
                worker.task = begun
                begun += 1
            self.listen()
            while given in self.ended and (not self.ended[given].fault or not self.at_work):
                ended = self.ended.pop(given)
                if ended.fault is not None:
                    raise ended.fault
                yield ended.result
                given += 1

    @property
    def at_work(self) -> list[Worker]:
        """Workers that have a task."""
        return [worker for worker in self.workers if worker.task is not None]

    def free_worker(self, processes: int) -> Worker | None:
        """A worker for the next task, where there may be one and none has failed."""
        if any(ended.fault is not None for ended in self.ended.values()):
            return None
        idle = next((worker for worker in self.workers if worker.task is None), None)
        return idle or (self.hire() if len(self.workers) < processes else None)

    def hire(self) -> Worker:
        """Another process."""
        here, there = self.context.Pipe()
        process = self.context.Process(target=self.attend, args=(there,), daemon=True)
        with warnings.catch_warnings():
            # Python warns of threads that a fork leaves behind; torch's are not used after it.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        there.close()
        self.workers.append(Worker(process, here))
        return self.workers[-1]

    def listen(self) -> None:
        """Hear what workers have to say, and tell them of a signal that came meanwhile."""
        heard = wait([worker.pipe for worker in self.at_work], LISTEN_SECONDS)
        for worker in self.at_work:
            if worker.pipe in heard:
                self.hear(worker)
        self.stop.value = self.tally.control.signalled() or 0

    def hear(self, worker: Worker) -> None:
        """Take what one worker says."""
        assert worker.task is not None
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            said = TaskEnded(None, worker_lost_error(worker.process.exitcode), 0)
        if isinstance(said, Progress):
            self.tally.told(worker.task, said)
            return
        memory = len(self.workers) * said.memory_bytes
        self.tally.control.workers_bytes = max(self.tally.control.workers_bytes, memory)
        self.ended[worker.task] = said
        worker.task = None

    def dismiss(self) -> None:
        """End all processes, wherever they stand."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()

    def attend(self, pipe: Connection) -> None:
        """In a worker: do one task after another, tell how far each is, and what came of it."""
        # Signals reach the parent; it asks workers to stop, and ends them after a second one.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        parent = os.getppid()
        reset_peak(CPU)
        base = memory_in_use()

        def asked_to_stop() -> int | None:
            if os.getppid() != parent:
                os._exit(1)  # The parent was killed; what it left is what there is.
            return self.stop.value or None

        while True:
            while not pipe.poll(LISTEN_SECONDS):
                asked_to_stop()
            control = Control(pipe.send, self.tally.control.save_every, whole=asked_to_stop)
            result, fault = None, None
            try:
                result = self.work(self.tasks[pipe.recv()], control)
            except Exception as error:
                if not isinstance(error, Interrupted | Diverged | DdspecError):
                    error.add_note(traceback.format_exc())
                fault = error
            pipe.send(TaskEnded(result, fault, peak_bytes(CPU) - base))


def worker_lost_error(exit_code: int | None) -> MachineError:
    """What to say of a worker that ended without a word."""
    return MachineError(
        f"a worker process was ended from outside ({exit_code})",
        hint="most often because memory ran out; what was finished before is kept",
    )
