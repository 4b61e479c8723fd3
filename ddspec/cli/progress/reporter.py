"""Progress of a run on the terminal: live bars, or a plain line now and then in a log.

Reports also go to events.jsonl, at most one per second and step, so that `ddspec status` can
follow the run from another shell, and the plain lines to run.log.
"""

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ddspec.cli.printing import write_line
from ddspec.cli.progress.events import append_event
from ddspec.dsl.record.file_names import EVENTS_JSONL, RUN_LOG
from ddspec.dsl.terminal_text import terminal_line
from ddspec.reports.format import plain_duration, progress_count

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
    done_at_begin: float

    def units_per_second(self, done: float, now: float) -> float | None:
        """Return the mean speed so far, or None before anything was done."""
        units, seconds = done - self.done_at_begin, now - self.began
        return units / seconds if units > 0 and seconds > 0 else None


@dataclass
class Reporter:
    """Shows progress on stderr and appends it to the files of a run folder."""

    folder: Path | None = None
    """The run folder with events.jsonl and run.log, if any."""
    estimated: Mapping[str, float] = field(default_factory=dict)
    """Estimated seconds for what is left of each step."""
    quiet: bool = False
    """Whether nothing is shown but messages."""
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    began: float = field(default_factory=time.monotonic)
    shares: dict[str, float] = field(default_factory=dict)
    """Share of each step's work of this run that is done."""
    paces: dict[str, Pace] = field(default_factory=dict)
    line_at: dict[str, float] = field(default_factory=dict)
    """Monotonic time of the last line, by step."""
    event_at: dict[str, float] = field(default_factory=dict)
    """Monotonic time of the last event, by step."""
    bar: "Bar | None" = None
    tasks: "dict[str, TaskID]" = field(default_factory=dict)

    def __enter__(self) -> "Reporter":
        if self.stream.isatty() and not self.quiet:
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
        finished, reused = progress.done >= progress.total, False
        if progress.step not in self.paces:
            self.paces[progress.step] = Pace(now, progress.done)
            reused = finished
        pace = self.paces[progress.step]
        if progress.done == pace.done_at_begin:
            pace.began = now  # The step has waited for others since its first report.
        speed = pace.units_per_second(progress.done, now)
        left = progress.total - progress.done
        seconds_left = left / speed if speed else None
        self.shares[progress.step] = 1 - left / max(1e-9, progress.total - pace.done_at_begin)
        due = finished or now - self.event_at.get(progress.step, -1e9) >= EVENT_EVERY_SECONDS
        if due and self.folder is not None:
            self.event_at[progress.step] = now
            append_event(self.folder / EVENTS_JSONL, progress, seconds_left)
        if reused:
            return
        if self.bar is not None:
            with UNWRITABLE:
                self.move_bar(progress, speed)
                self.move_total_bar(now)
        if finished or now - self.line_at.setdefault(progress.step, now) >= LINE_EVERY_SECONDS:
            self.line_at[progress.step] = now
            line = self.log(progress_text(progress, speed, seconds_left))
            if self.bar is None and not self.quiet:
                write_line(self.stream, line)

    def tell(self, message: str) -> None:
        """Print a message on its own line, above the bars if there are any."""
        line = self.log(message)
        if self.bar is None:
            write_line(self.stream, line)
            return
        with UNWRITABLE:
            # Nothing in the message is markup.
            self.bar.console.print(terminal_line(message), markup=False, highlight=False)

    def log(self, message: str) -> str:
        """Append a message to run.log; return it as a line with the time of day."""
        line = terminal_line(f"{time.strftime('%H:%M:%S')} {message}")
        if self.folder is not None:
            append_log(self.folder / RUN_LOG, f"{time.strftime('%Y-%m-%d')} {line}")
        return line

    def move_bar(self, progress: "Progress", speed: float | None) -> None:
        """Update the bar of a step, and add it on the step's first report."""
        assert self.bar is not None
        if progress.step not in self.tasks:
            self.tasks[progress.step] = self.bar.add_task(
                terminal_line(progress.step), total=progress.total, count="", figures="", speed=""
            )
        self.bar.update(
            self.tasks[progress.step],
            completed=progress.done,
            total=progress.total,
            count=progress_count(progress.done, progress.total, progress.unit),
            figures=figures_text(progress),
            speed=f"{speed:.3g}/s" if speed else "",
        )

    def move_total_bar(self, now: float) -> None:
        """Update the bar of the whole run: steps count as much as they were estimated to take."""
        assert self.bar is not None
        if len(self.estimated) < 2:
            return
        share = self.whole_share()
        if TOTAL not in self.tasks:
            self.tasks[TOTAL] = self.bar.add_task(TOTAL, total=1, count="", figures="", speed="")
        left = (now - self.began) * (1 - share) / share if share else 0.0
        self.bar.update(
            self.tasks[TOTAL],
            completed=share,
            count=f"{100 * share:.0f} %",
            figures=f"about {plain_duration(left)} left" if left else "",
        )

    def whole_share(self) -> float:
        """Return the share of the estimated time of all steps whose work is done."""
        spent = [seconds * self.shares.get(step, 0.0) for step, seconds in self.estimated.items()]
        return sum(spent) / max(1e-9, sum(self.estimated.values()))


TOTAL = "all"
"""Name of the bar of the whole run."""


def progress_text(
    progress: "Progress", speed: float | None = None, seconds_left: float | None = None
) -> str:
    """Return the progress of a step as one plain line."""
    parts = [f"{progress.step} {progress_count(progress.done, progress.total, progress.unit)}"]
    if speed:
        parts.append(f"{speed:.3g}/s")
    if seconds_left is not None and progress.done < progress.total:
        parts.append(f"{plain_duration(seconds_left)} left")
    if progress.figures:
        parts.append(figures_text(progress))
    return ", ".join(parts)


def append_log(path: Path, line: str) -> None:
    """Append a line to run.log, in a folder that is made if it is missing.

    An unwritable file is ignored: it must not stop the run.
    """
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def live_bar() -> "Bar":
    """Return progress bars with count, speed, time left and figures."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    def unwrapped(width: int) -> Column:
        return Column(min_width=width, no_wrap=True)

    figures = Column(no_wrap=True, overflow="ellipsis")
    # On narrow terminals only the figures at the end are cut, never the columns before them.
    return Bar(
        TextColumn("{task.description}", markup=False, table_column=unwrapped(12)),
        BarColumn(bar_width=10),
        TextColumn("{task.fields[count]}", markup=False, table_column=unwrapped(9)),
        TextColumn("{task.fields[speed]}", markup=False, table_column=unwrapped(7)),
        TimeRemainingColumn(table_column=unwrapped(7)),
        TextColumn("{task.fields[figures]}", markup=False, table_column=figures),
        console=Console(stderr=True),
    )


def figures_text(progress: "Progress") -> str:
    """Return the figures of a report, for example "loss 0.5231"."""
    return ", ".join(f"{name} {value:.4g}" for name, value in progress.figures.items())
