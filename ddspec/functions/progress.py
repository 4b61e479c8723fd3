"""Progress of a run for Python callers: plain lines, or a callback of their own."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TextIO

from ddspec.dsl.terminal_text import terminal_line
from ddspec.reports.format import progress_count

if TYPE_CHECKING:
    from ddspec.engine.control import Control, Progress

LINE_EVERY_SECONDS = 5.0

OnProgress = Callable[["Progress"], None]
"""Called with each report of a step: its name, the units done and in all, and its figures."""

ProgressOption = OnProgress | Literal["text"] | None
"""A callback, plain lines on stderr (`"text"`), or nothing (None)."""


@dataclass
class TextProgress:
    """Writes a line when a step ends, and every few seconds while it runs."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    line_at: dict[str, float] = field(default_factory=dict)
    """Monotonic time of the last line, by step; at first that of its first report."""
    ended: set[str] = field(default_factory=set)

    def __call__(self, progress: "Progress") -> None:
        """Write the report of a step, if a line is due."""
        now, step = time.monotonic(), progress.step
        complete, first = progress.done >= progress.total, step not in self.line_at
        ends = complete and step not in self.ended
        last = self.line_at.setdefault(step, now)
        # A step that is complete when the run begins is reused.
        if not (first and complete) and (ends or now - last >= LINE_EVERY_SECONDS):
            self.line_at[step] = now
            count = progress_count(progress.done, progress.total, progress.unit)
            figures = [f"{name} {value:.4g}" for name, value in progress.figures.items()]
            self.tell(", ".join([f"{step} {count}", *figures]))
        if ends:
            self.ended.add(step)

    def tell(self, message: str) -> None:
        """Write a message on its own line, if it can be written."""
        with suppress(OSError, ValueError):
            self.stream.write(f"{terminal_line(message)}\n")
            self.stream.flush()


def control_of(on_progress: ProgressOption, save_every: float | None = None) -> "Control":
    """Return the control of a run that reports its progress as asked.

    Raises ValueError if `on_progress` is none of its choices.
    """
    from ddspec.engine.control import SAVE_EVERY_SECONDS, Control

    seconds = SAVE_EVERY_SECONDS if save_every is None else save_every
    if on_progress is None:
        return Control(save_every=seconds)
    if on_progress == "text":
        lines = TextProgress()
        return Control(report=lines, say=lines.tell, save_every=seconds)
    if not callable(on_progress):
        raise ValueError(f'on_progress is {on_progress!r}, not a function, "text" or None')
    return Control(report=on_progress, save_every=seconds)
