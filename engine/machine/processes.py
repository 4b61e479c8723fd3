"""A pool of processes that work on independent tasks.

On a CPU, two networks that train on a core each finish sooner than one after the other on both
cores. Processes are forked, so that images lie in memory once. The result of a task does not
depend on what runs beside it. A process has one thread, because torch's other threads do not
survive a fork.

Pools of the standard library and of packages (concurrent.futures, pebble, loky) manage their
processes in threads of the parent. A fork copies the locks that such threads hold, and they pass
on neither progress nor a request to stop, so this module has its own.
"""

import contextlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Generic, TypeVar

import torch

from ddspec.dsl.diagnostics import DdspecError, MachineError
from ddspec.engine.control import Control, Diverged, Interrupted, Progress
from ddspec.engine.machine.memory import memory_in_use, peak_bytes, reset_peak

TaskType = TypeVar("TaskType")
ResultType = TypeVar("ResultType")

CPU_DEVICE = torch.device("cpu")
POLL_SECONDS = 0.2
"""Seconds that may pass until workers learn of a signal."""


def can_fork() -> bool:
    """Return whether this system can fork a process that has used torch."""
    return sys.platform.startswith("linux")


class WorkerLost(MachineError):
    """A worker process ended without a result; its task can be done again."""


@dataclass(frozen=True)
class TaskEnded(Generic[TaskType]):
    """What became of a task: a result, or an error."""

    task: TaskType
    result: Any = None
    error: Exception | None = None
    memory_bytes: int = 0
    """The process's peak memory; of a worker without what it shares with its parent."""


@dataclass(frozen=True)
class Answer:
    """The message that a worker sends when its task has ended."""

    result: Any
    error: Exception | None
    memory_bytes: int


@dataclass
class Worker(Generic[TaskType]):
    """A process, and the task that it works on."""

    process: ForkProcess
    pipe: Connection
    task: TaskType | None = None


@dataclass
class ProcessPool(Generic[TaskType, ResultType]):
    """Processes that work on one task after another."""

    work: Callable[[TaskType, Control], ResultType]
    control: Control
    """That of the whole run, whose signals and messages are passed on."""
    report: Callable[[TaskType, Progress], None]
    """Receives the progress of tasks."""
    workers: list[Worker[TaskType]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = get_context("fork")
        self.stop_signal = self.context.Value("i", 0, lock=False)
        """The signal that asks workers to stop, in shared memory; 0 if there is none."""

    @property
    def running(self) -> list[TaskType]:
        """Tasks that are being worked on."""
        return [worker.task for worker in self.workers if worker.task is not None]

    def start(self, task: TaskType) -> None:
        """Give a task to an idle worker, or to a new one."""
        # Thread pools do not survive a fork; waiting for one in the child would deadlock.
        torch.set_num_threads(1)
        for worker in [worker for worker in self.workers if worker.task is None]:
            try:
                worker.pipe.send(task)
            except OSError:  # It was killed while it had nothing to do.
                self.discard(worker)
            else:
                worker.task = task
                return
        worker = self.start_worker()
        worker.task = task
        with contextlib.suppress(OSError):  # `ended` tells if it was killed already.
            worker.pipe.send(task)

    def start_worker(self) -> Worker[TaskType]:
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

    def ended(self) -> list[TaskEnded[TaskType]]:
        """Return the tasks that have ended, after waiting a moment; pass signals on."""
        busy = [worker for worker in self.workers if worker.task is not None]
        ready = wait([worker.pipe for worker in busy], POLL_SECONDS)
        received = [self.receive(worker) for worker in busy if worker.pipe in ready]
        self.stop_signal.value = self.control.signalled() or 0
        return [ended for ended in received if ended is not None]

    def receive(self, worker: Worker[TaskType]) -> TaskEnded[TaskType] | None:
        """Receive one message of a worker; return how its task ended, if it did."""
        task = worker.task
        assert task is not None
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            # What ended it may have ended idle ones too, which cannot be told from living ones.
            for lost in [other for other in self.workers if other is worker or other.task is None]:
                self.discard(lost)
            return TaskEnded(task, error=worker_lost_error(worker.process.exitcode))
        match message:
            case Progress():
                self.report(task, message)
            case str():
                self.control.say(message)
            case Answer(result=result, error=error, memory_bytes=memory_bytes):
                worker.task = None
                return TaskEnded(task, result, error, memory_bytes)
        return None

    def discard(self, worker: Worker[TaskType]) -> None:
        """Kill a worker, if it lives, and forget it."""
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self.workers.remove(worker)

    def stop(self) -> None:
        """Kill all processes, whatever they are doing."""
        for worker in list(self.workers):
            self.discard(worker)

    def serve(self, pipe: Connection) -> None:
        """Work on the tasks that arrive; send progress and results. Runs in a worker."""
        # Signals of a terminal reach every process. The parent alone handles them: it asks
        # workers to stop, and kills them after a second signal.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        parent = os.getppid()
        reset_peak(CPU_DEVICE)  # Gives freed memory back, which would hide what tasks take.
        base = memory_in_use()

        def parent_signal() -> int | None:
            if os.getppid() != parent:
                os._exit(1)  # The parent was killed, so nobody waits for the result.
            return self.stop_signal.value or None

        while True:
            while not pipe.poll(POLL_SECONDS):
                parent_signal()
            task = pipe.recv()
            control = Control(
                pipe.send, self.control.save_every, parent_signal=parent_signal, say=pipe.send
            )
            reset_peak(CPU_DEVICE)
            result, error = None, None
            try:
                result = self.work(task, control)
            except Exception as exception:
                if not isinstance(exception, Interrupted | Diverged | DdspecError):
                    exception.add_note(traceback.format_exc())
                error = exception
            pipe.send(Answer(result, error, max(0, peak_bytes(CPU_DEVICE) - base)))


def worker_lost_error(exit_code: int | None) -> WorkerLost:
    """Return the error for a worker that ended without sending a result."""
    return WorkerLost(
        f"a worker process was ended from outside ({exit_code})",
        hint="most often because memory ran out; everything finished before is kept",
    )
