"""Progress, checkpoints and signals between a long stage and whoever started it."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from ddspec.dsl.record.record import Outcome

SAVE_EVERY_SECONDS = 30.0

REPORT_EVERY_SECONDS = 1.0
"""Seconds between reports of progress within a unit, such as an epoch of minutes."""


class Interrupted(Exception):
    """A signal asked the run to stop; everything done so far is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number, self.exit_code = number, 128 + number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return f"stopped by {name}; run the same command to continue"


class Diverged(Exception):
    """A number became non-finite: an outcome to be recorded, not a fault of the program."""

    def __init__(self, cause: str, advice: str, at: int | None, expert: int | None = None) -> None:
        super().__init__(cause, advice, at, expert)
        self.cause, self.advice = cause, advice
        self.at, self.expert = at, expert
        """Iteration of the outer loop, or epoch of that expert; None before the first."""

    def __str__(self) -> str:
        return self.cause


@dataclass(frozen=True)
class Cost:
    """The cost of a step in this run."""

    seconds: float
    memory_bytes: int
    """Peak memory while the step ran."""


@dataclass(frozen=True)
class ExecutionResult:
    """The outcome of the steps of a plan, and their costs."""

    outcome: Outcome
    costs: dict[str, Cost]
    """Cost of each step that had something to do."""
    stopped: str | None
    """The step that diverged, failed or was interrupted."""
    seconds: float = 0.0
    """Wall time in which a step ran."""
    error: Exception | None = None
    """The exception to raise once the record is written."""
    made_elsewhere: Mapping[str, int] = field(default_factory=dict)
    """By step, how many of the missing artifacts another run made meanwhile."""


@dataclass(frozen=True)
class Progress:
    """Progress of a step: the units that are done, and figures worth watching."""

    step: str
    done: int | float
    """Units that are done, with the done part of the unit at work."""
    total: int
    figures: dict[str, float]
    unit: str = ""
    """What is counted, in the plural."""


@dataclass
class Control:
    """Passed to stages, which report progress, ask whether to save, and stop when told."""

    report: Callable[[Progress], None] = lambda progress: None
    save_every: float = SAVE_EVERY_SECONDS
    """Seconds between checkpoints; they change no number."""
    stopped_by: int | None = None
    """The signal that this process received."""
    parent_signal: Callable[[], int | None] = lambda: None
    """The signal that the whole run received, if this is the control of one of its tasks."""
    saved_at: float = field(default_factory=time.monotonic)
    reported_at: float = field(default_factory=time.monotonic)
    """When progress within a unit was reported last."""
    say: Callable[[str], None] = lambda message: None
    """Shows a message on its own line, such as that a run waits for another one."""

    def signalled(self) -> int | None:
        """Return the signal that asked this run to stop, if one did."""
        return self.parent_signal() if self.stopped_by is None else self.stopped_by

    def report_within(self, progress: Callable[[], Progress]) -> None:
        """Report progress within a unit if it is due; raise Interrupted if a signal came."""
        self.leave_if_stopped()
        now = time.monotonic()
        if now - self.reported_at >= REPORT_EVERY_SECONDS:
            self.reported_at = now
            self.report(progress())

    def save_due(self) -> bool:
        """Return whether a stage should write a checkpoint now."""
        due = time.monotonic() - self.saved_at >= self.save_every
        return due or self.signalled() is not None

    def saved(self) -> None:
        """Note that a stage has saved; raise Interrupted if a signal came."""
        self.saved_at = time.monotonic()
        self.leave_if_stopped()

    def leave_if_stopped(self) -> None:
        """Raise Interrupted if a signal came. Call it only when nothing would be lost."""
        number = self.signalled()
        if number is not None:
            raise Interrupted(number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as a request to stop; the second one stops at once.

        Does nothing outside the main thread, where Python cannot handle signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            if self.stopped_by is not None:
                raise Interrupted(number)
            self.stopped_by = number

        previous = {sig: signal.signal(sig, stop) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in previous.items():
                signal.signal(sig, handler)
