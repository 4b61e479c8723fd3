"""What a long stage tells the outside, and what the outside tells it: progress, save, stop."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from ddspec.dsl.record.record import Outcome

SAVE_EVERY_SECONDS = 30.0


class Interrupted(Exception):
    """A signal asked the run to stop; everything done so far is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number, self.exit_code = number, 128 + number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}; run the same command to go on"


class Diverged(Exception):
    """A number became non-finite: an outcome to be recorded, not a fault of the program."""

    def __init__(self, cause: str, advice: str, at: int | None, expert: int | None = None) -> None:
        super().__init__(cause, advice, at, expert)
        self.cause, self.advice = cause, advice
        self.at, self.expert = at, expert
        """Iteration of the outer loop, or epoch of that expert; None before either began."""

    def __str__(self) -> str:
        return self.cause


@dataclass(frozen=True)
class Cost:
    """What a step cost in this run."""

    seconds: float
    memory_bytes: int
    """The most that was in use while it ran."""


@dataclass(frozen=True)
class Done:
    """How the steps of a plan went."""

    outcome: Outcome
    costs: dict[str, Cost]
    """Of the steps that had something to do."""
    stopped: str | None
    """The step that diverged, failed or was interrupted."""
    error: Exception | None = None
    """What to raise when the record is written."""


@dataclass(frozen=True)
class Progress:
    """How far a step is: units done of all units, and figures worth watching."""

    step: str
    done: int
    total: int
    figures: dict[str, float]


@dataclass
class Control:
    """Passed to stages: they report progress, ask whether to save, and stop when told."""

    report: Callable[[Progress], None] = lambda progress: None
    save_every: float = SAVE_EVERY_SECONDS
    """Seconds between checkpoints; they change no number."""
    stopped_by: int | None = None
    whole: Callable[[], int | None] = lambda: None
    """Of a part of a run: which signal came to the whole of it."""
    saved_at: float = field(default_factory=time.monotonic)
    say: Callable[[str], None] = lambda message: None
    """What is worth a line of its own, such as that a run waits for another."""
    workers_bytes: int = 0
    """Memory that processes of this one held at once, beside what they share with it."""

    def signalled(self) -> int | None:
        """The signal that asked this run to stop, if one did."""
        return self.whole() if self.stopped_by is None else self.stopped_by

    def save_due(self) -> bool:
        """Whether a stage should write down where it stands."""
        due = time.monotonic() - self.saved_at >= self.save_every
        return due or self.signalled() is not None

    def saved(self) -> None:
        """A stage has saved; leave it here if a signal came."""
        self.saved_at = time.monotonic()
        self.leave_if_stopped()

    def leave_if_stopped(self) -> None:
        """Raise Interrupted if a signal came. Call it only where nothing would be lost."""
        number = self.signalled()
        if number is not None:
            raise Interrupted(number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as a wish to stop; the second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            if self.stopped_by is not None:
                raise Interrupted(number)
            self.stopped_by = number

        before = {sig: signal.signal(sig, stop) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)
