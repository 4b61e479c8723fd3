"""The trackers of a run as child processes, which begin before it and end after it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import ddspec
from ddspec.dsl.record.file_names import EVENTS_JSONL
from ddspec.trackers.installed import TrackerName
from ddspec.trackers.tracked_run import record_time

if TYPE_CHECKING:
    from ddspec.engine.control import Progress

Report = Callable[["Progress"], None]

ASK_EVERY_SECONDS = 1.0
END_SECONDS = 120.0
"""Time that a tracker has after the run, to send what it has."""


@dataclass
class Follower:
    """The process of one tracker."""

    name: TrackerName
    process: "subprocess.Popen[bytes]"
    output: IO[bytes]
    failed: bool = False
    """Whether its failure was told."""

    def failure(self) -> str:
        """Return why the tracker failed, once; empty if it has not."""
        if self.failed or not self.process.poll():
            return ""
        self.failed = True
        reason = self.last_line() or f"it ended with code {self.process.returncode}"
        return f"{self.name} failed, and the run goes on without it: {reason}"

    def end(self) -> str:
        """Let the process end; return where it logged, or why it failed, in words."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.failed = True
            return f"{self.name} did not end within {END_SECONDS:.0f} s after the run"
        if self.process.returncode:
            return self.failure()
        place = self.last_line()
        return f"{self.name}: {place}" if place else ""

    def last_line(self) -> str:
        """Return the last line that the process wrote; empty if it wrote none."""
        self.output.seek(0)
        lines = self.output.read().decode("utf-8", errors="replace").rstrip("\n").splitlines()
        return lines[-1] if lines else ""


@contextmanager
def following(
    names: Sequence[TrackerName], folder: Path, report: Report, tell: Callable[[str], None]
) -> Iterator[Report]:
    """Let trackers follow the run in a folder; yield what its progress must be reported to.

    Reports are passed on to `report`. What becomes of the trackers is told by `tell`: a failure
    once, when it happens, and where they logged at the end.
    """
    if not names:
        yield report
        return
    asked_at = time.monotonic()

    def passing_on(progress: "Progress") -> None:
        nonlocal asked_at
        report(progress)
        if time.monotonic() - asked_at >= ASK_EVERY_SECONDS:
            asked_at = time.monotonic()
            tell_all(follower.failure() for follower in followers)

    def tell_all(messages: Iterator[str]) -> None:
        for message in messages:
            if message:
                tell(message)

    with ExitStack() as stack:
        followers = [start(name, folder, stack) for name in names]
        try:
            yield passing_on
        finally:
            tell_all(follower.end() for follower in followers)


def start(name: TrackerName, folder: Path, stack: ExitStack) -> Follower:
    """Start the process of a tracker, which reads events that come from now on."""
    events = folder / EVENTS_JSONL
    offset = events.stat().st_size if events.exists() else 0
    output = tempfile.TemporaryFile()  # noqa: SIM115
    stack.enter_context(output)
    root = str(Path(ddspec.__path__[0]).parent)
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    arguments = [name, str(folder), str(offset), str(record_time(folder))]
    process = subprocess.Popen(
        [sys.executable, "-m", "ddspec.trackers.follow", *arguments],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
    )
    return Follower(name, process, output)
