"""What a tracker gets of a run: its settings, its events, its results."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import tomli

from ddspec.dsl.key_path import dotted, leaves
from ddspec.dsl.record.file_names import EVENTS_JSONL, RECORD_JSON, RESOLVED_TOML
from ddspec.dsl.record.record import Record

EVENT_FIELDS = {"time", "step", "done", "total", "unit", "seconds_left"}
"""Fields of an event that are not figures; `ddspec/cli/progress/events.py` writes them."""


@dataclass(frozen=True)
class Scalars:
    """Numbers at one point of a run, by name."""

    group: str
    """The step of the plan, or `evaluation`; names of the numbers stand below it."""
    at: int
    """Units of the step that are done, or the iteration of the evaluated set."""
    values: dict[str, float]

    @property
    def named(self) -> dict[str, float]:
        """The numbers by their full names, such as "distill/loss"."""
        return {f"{self.group}/{name}": value for name, value in self.values.items()}


class Tracker(Protocol):
    """A tracker that is open for one run."""

    place: str
    """Where it writes, for the reader of the terminal."""

    def log(self, scalars: Scalars) -> None:
        """Log numbers of the run."""

    def close(self, results: dict[str, float], status: str) -> None:
        """Log the results, if the run has any, and end."""


def settings_of(folder: Path) -> dict[str, Any]:
    """Return the settings of a run by dotted key; none if they cannot be read."""
    try:
        values = tomli.loads((folder / RESOLVED_TOML).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {dotted(path): value for path, value in leaves(values)}


@dataclass
class EventReader:
    """Reads the events that are appended to a run's events.jsonl."""

    folder: Path
    offset: int
    """Bytes of the file that were read, or that belong to earlier calls."""

    def new_events(self) -> Iterator[Scalars]:
        """Yield the figures of every whole line since the last call; damaged lines are skipped."""
        try:
            with (self.folder / EVENTS_JSONL).open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            scalars = scalars_of(line)
            if scalars is not None:
                yield scalars


def scalars_of(line: bytes) -> Scalars | None:
    """Return the figures of an event; None if the line is not an event with figures.

    An event within a unit repeats the figures of the unit before it and is left out.
    """
    try:
        event = json.loads(line)
        step, done = str(event["step"]), int(event["done"])
        if done != event["done"]:
            return None
    except (ValueError, KeyError, TypeError):
        return None
    values = {
        name: float(value)
        for name, value in event.items()
        if name not in EVENT_FIELDS and isinstance(value, int | float)
    }
    return Scalars(step, done, values) if values else None


def evaluations_of(record: Record) -> Iterator[Scalars]:
    """Yield the mean accuracies of a record, in percent, by network and iteration."""
    for evaluated in record.evaluations:
        if not evaluated.values:
            continue
        mean = fmean(evaluated.values)
        name = f"{evaluated.subject}/{evaluated.network}"
        yield Scalars("evaluation", evaluated.iteration, {name: mean})


def results_of(record: Record) -> dict[str, float]:
    """Return the results of a record: its accuracy in percent and its wall time."""
    results = {"seconds": record.wall_seconds}
    accuracy = record.results.accuracy
    if accuracy is not None:
        results |= {"accuracy": accuracy.mean, "accuracy_std": accuracy.std}
    return results


def record_time(folder: Path) -> int:
    """Return when the record of a run was written, in nanoseconds; 0 if there is none."""
    try:
        return (folder / RECORD_JSON).stat().st_mtime_ns
    except OSError:
        return 0


def read_new_record(folder: Path, earlier: int) -> Record | None:
    """Return the record of a run, unless it is the one that was written at an earlier time."""
    if record_time(folder) in (0, earlier):
        return None
    try:
        return Record.model_validate_json((folder / RECORD_JSON).read_bytes())
    except (OSError, ValueError):
        return None
