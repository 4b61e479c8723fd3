"""How far a run is, for people: a live bar on a terminal, a plain line now and then in a log.

Every report also goes to `events.jsonl` in the run folder, at most one a second and step, so that
another shell can follow.
"""

import contextlib
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from ddspec.reports.format import plain_duration
from ddspec.engine.control import Progress

LINE_EVERY_SECONDS = 20.0
EVENT_EVERY_SECONDS = 1.0


@dataclass
class Pace:
    """Rate of one step, from its first report in this run."""

    began: float
    done_at_begin: int

    def rate(self, done: int, now: float) -> float | None:
        """Units a second so far; None while nothing can be said."""
        made, spent = done - self.done_at_begin, now - self.began
        return made / spent if made > 0 and spent > 0 else None


@dataclass
class Reporter:
    """Shows reports on stderr and appends them to a file of events."""

    events: Path
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    paces: dict[str, Pace] = field(default_factory=dict)
    line_at: dict[str, float] = field(default_factory=dict)
    event_at: dict[str, float] = field(default_factory=dict)
    bar: "Bar | None" = None
    tasks: "dict[str, TaskID]" = field(default_factory=dict)

    def __enter__(self) -> "Reporter":
        self.events.parent.mkdir(parents=True, exist_ok=True)
        if self.stream.isatty():
            self.bar = live_bar()
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, progress: "Progress") -> None:
        """Take one report."""
        now = time.monotonic()
        pace = self.paces.setdefault(progress.step, Pace(now, progress.done))
        finished = progress.done >= progress.total
        rate = pace.rate(progress.done, now)
        left = (progress.total - progress.done) / rate if rate else None
        if finished or now - self.event_at.get(progress.step, -1e9) >= EVENT_EVERY_SECONDS:
            self.event_at[progress.step] = now
            self.append(progress, left)
        if self.bar is not None:
            self.draw(progress, rate)
        elif finished or now - self.line_at.setdefault(progress.step, now) >= LINE_EVERY_SECONDS:
            self.line_at[progress.step] = now
            self.say(progress, rate, left)

    def append(self, progress: "Progress", left: float | None) -> None:
        """One line of events.jsonl; a file that cannot be written stops no run."""
        event = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "step": progress.step,
            "done": progress.done,
            "total": progress.total,
            "seconds_left": left,
            **{name: number(value) for name, value in progress.figures.items()},
        }
        with contextlib.suppress(OSError), self.events.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def say(self, progress: "Progress", rate: float | None, left: float | None) -> None:
        """One plain line."""
        clock = time.strftime("%H:%M:%S")
        wait = (
            ""
            if left is None or progress.done >= progress.total
            else f", {plain_duration(left)} left"
        )
        speed = f", {rate:.3g}/s" if rate else ""
        count = f"{progress.done}/{progress.total}"
        said = f"{clock} {progress.step} {count}{speed}{wait}, {watch(progress)}"
        self.stream.write(said + "\n")
        self.stream.flush()

    def tell(self, message: str) -> None:
        """A line of its own, above the bar where there is one."""
        if self.bar is not None:
            self.bar.console.print(message)
        else:
            self.stream.write(f"{time.strftime('%H:%M:%S')} {message}\n")
            self.stream.flush()

    def draw(self, progress: "Progress", rate: float | None) -> None:
        """Move the bar of the step."""
        assert self.bar is not None
        if progress.step not in self.tasks:
            self.tasks[progress.step] = self.bar.add_task(
                progress.step, total=progress.total, watch="", speed=""
            )
        self.bar.update(
            self.tasks[progress.step],
            completed=progress.done,
            total=progress.total,
            watch=watch(progress),
            speed=f"{rate:.3g}/s" if rate else "",
        )


def live_bar() -> "Bar":
    """A bar with rate and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    def whole(width: int) -> Column:
        return Column(min_width=width, no_wrap=True)

    # Narrow terminals cut the figures at the end, never what is before them.
    return Bar(
        TextColumn("{task.description}", table_column=whole(12)),
        BarColumn(bar_width=10),
        MofNCompleteColumn(table_column=whole(9)),
        TextColumn("{task.fields[speed]}", table_column=whole(7)),
        TimeRemainingColumn(table_column=whole(7)),
        TextColumn("{task.fields[watch]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=Console(stderr=True),
    )


def watch(progress: "Progress") -> str:
    """The figures worth watching."""
    return ", ".join(f"{name} {value:.4g}" for name, value in progress.figures.items())


def number(value: float) -> float | None:
    """A value that JSON can hold."""
    return value if value == value and abs(value) != float("inf") else None
