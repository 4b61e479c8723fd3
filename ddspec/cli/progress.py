"""Progress of a run on the terminal: a live bar, or a plain line now and then in a log.

Reports also go to events.jsonl, at most one per second and step, so that
`ddspec status` can follow the run from another shell.
"""

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ddspec.cli.events import append_event
from ddspec.cli.printing import write_line
from ddspec.dsl.terminal_text import terminal_line
from ddspec.reports.format import plain_duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from ddspec.engine.control import Progress

UNWRITABLE = suppress(OSError, ValueError)
"""For writing to a terminal or log that may be full, closed or gone; a run goes on without it."""

LINE_EVERY_SECONDS = 20.0
EVENT_EVERY_SECONDS = 1.0


@dataclass
class Pace:
    """Speed of one step, counted from its first report in this run."""

    began: float
    """Monotonic time of the first report, in seconds."""
    done_at_begin: int

    def units_per_second(self, done: int, now: float) -> float | None:
        """Return the mean speed so far, or None before anything was done."""
        units, seconds = done - self.done_at_begin, now - self.began
        return units / seconds if units > 0 and seconds > 0 else None


@dataclass
class Reporter:
    """Shows progress on stderr and appends it to events.jsonl."""

    events: Path | None = None
    """The file that progress is appended to, if any."""
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    paces: dict[str, Pace] = field(default_factory=dict)
    line_at: dict[str, float] = field(default_factory=dict)
    """Monotonic time of the last line, by step."""
    event_at: dict[str, float] = field(default_factory=dict)
    """Monotonic time of the last event, by step."""
    bar: "Bar | None" = None
    tasks: "dict[str, TaskID]" = field(default_factory=dict)

    def __enter__(self) -> "Reporter":
        if self.stream.isatty():
            self.bar = live_bar()
            with UNWRITABLE:
                self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            with UNWRITABLE:
                self.bar.stop()

    def __call__(self, progress: "Progress") -> None:
        """Show one report and write it to events.jsonl if one is due."""
        now = time.monotonic()
        pace = self.paces.setdefault(progress.step, Pace(now, progress.done))
        finished = progress.done >= progress.total
        speed = pace.units_per_second(progress.done, now)
        seconds_left = (progress.total - progress.done) / speed if speed else None
        due = finished or now - self.event_at.get(progress.step, -1e9) >= EVENT_EVERY_SECONDS
        if due and self.events is not None:
            self.event_at[progress.step] = now
            append_event(self.events, progress, seconds_left)
        if self.bar is not None:
            with UNWRITABLE:
                self.move_bar(progress, speed)
        elif finished or now - self.line_at.setdefault(progress.step, now) >= LINE_EVERY_SECONDS:
            self.line_at[progress.step] = now
            self.write_line(progress, speed, seconds_left)

    def tell(self, message: str) -> None:
        """Print a message on its own line, above the bar if there is one."""
        if self.bar is None:
            write_line(self.stream, terminal_line(f"{time.strftime('%H:%M:%S')} {message}"))
            return
        with UNWRITABLE:
            # Nothing in the message is markup.
            self.bar.console.print(terminal_line(message), markup=False, highlight=False)

    def write_line(
        self, progress: "Progress", speed: float | None, seconds_left: float | None
    ) -> None:
        """Write the progress of a step as one plain line."""
        parts = [f"{time.strftime('%H:%M:%S')} {progress.step} {progress.done}/{progress.total}"]
        if speed:
            parts.append(f"{speed:.3g}/s")
        if seconds_left is not None and progress.done < progress.total:
            parts.append(f"{plain_duration(seconds_left)} left")
        parts.append(figures_text(progress))
        write_line(self.stream, terminal_line(", ".join(parts)))

    def move_bar(self, progress: "Progress", speed: float | None) -> None:
        """Update the bar of a step, and add it on the step's first report."""
        assert self.bar is not None
        if progress.step not in self.tasks:
            self.tasks[progress.step] = self.bar.add_task(
                terminal_line(progress.step), total=progress.total, figures="", speed=""
            )
        self.bar.update(
            self.tasks[progress.step],
            completed=progress.done,
            total=progress.total,
            figures=figures_text(progress),
            speed=f"{speed:.3g}/s" if speed else "",
        )


def live_bar() -> "Bar":
    """Return a progress bar with count, speed, time left and figures."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    def unwrapped(width: int) -> Column:
        return Column(min_width=width, no_wrap=True)

    figures = Column(no_wrap=True, overflow="ellipsis")
    # On narrow terminals only the figures at the end are cut, never the columns before them.
    return Bar(
        TextColumn("{task.description}", markup=False, table_column=unwrapped(12)),
        BarColumn(bar_width=10),
        MofNCompleteColumn(table_column=unwrapped(9)),
        TextColumn("{task.fields[speed]}", markup=False, table_column=unwrapped(7)),
        TimeRemainingColumn(table_column=unwrapped(7)),
        TextColumn("{task.fields[figures]}", markup=False, table_column=figures),
        console=Console(stderr=True),
    )


def figures_text(progress: "Progress") -> str:
    """Return the figures of a report, for example "loss 0.5231"."""
    return ", ".join(f"{name} {value:.4g}" for name, value in progress.figures.items())
