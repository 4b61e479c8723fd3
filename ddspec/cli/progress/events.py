"""events.jsonl: progress of a run, written while it runs and read from another shell.

Each line is a JSON object with the fields of `Event` and the current figures of the
step.
"""

import calendar
import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.file_names import EVENTS_JSONL, PLAN_JSON, RECORD_JSON
from ddspec.dsl.record.record import Record
from ddspec.dsl.regular_file import MAX_TEXT_BYTES, open_regular_file
from ddspec.reports.format import plain_duration

if TYPE_CHECKING:
    from ddspec.engine.control import Progress


TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""UTC, ISO 8601."""

MOST_SECONDS = 1e10
"""Longest time left that is accepted; ddspec never writes a longer one, nor NaN."""


class Event(BaseModel):
    """The fields of a line of events.jsonl that `status` reads."""

    step: str
    time: str
    """UTC, ISO 8601."""
    done: float
    """Units that are done, with the done part of the unit at work."""
    total: int
    unit: str = ""
    seconds_left: Annotated[float, Field(ge=0, le=MOST_SECONDS)] | None


def append_event(path: Path, progress: "Progress", seconds_left: float | None) -> None:
    """Append one line to events.jsonl, in a folder that is made if it is missing.

    An unwritable file is ignored: it must not stop the run.
    """
    event = {
        "time": time.strftime(TIME_FORMAT, time.gmtime()),
        "step": progress.step,
        "done": round(progress.done, 3),
        "total": progress.total,
        "unit": progress.unit,
        "seconds_left": seconds_left,
        **{name: json_number(value) for name, value in progress.figures.items()},
    }
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def ago(moment: str | None) -> str:
    """Return how long ago an event was written, for example "2 min ago"."""
    try:
        then = calendar.timegm(time.strptime(moment or "", TIME_FORMAT))
    except ValueError:
        return "-"
    return f"{plain_duration(max(0.0, time.time() - then))} ago"


def json_number(value: float) -> float | None:
    """Return the value, or None for NaN and infinities, which JSON cannot hold."""
    return value if value == value and abs(value) != float("inf") else None


BLOCK_BYTES = 1 << 20
"""Bytes of events.jsonl that are read at once, from its end."""

MOST_LINE_BYTES = 1 << 16
"""Longest line of events.jsonl that is read; ddspec writes some hundred bytes."""


def latest_events(path: Path, steps: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the last event of each of these steps that has one; damaged lines are skipped.

    The file is read backwards until all are found. Only lines that name a missing step are parsed,
    because the events of a long run take seconds to parse.
    """
    missing = {json.dumps({"step": step})[1:-1].encode(): step for step in steps}
    events: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(OSError), open_regular_file(path) as descriptor:
        for lines in blocks_backwards(descriptor):
            for named in list(missing):
                event = last_event_in(lines, named, missing[named])
                if event is not None:
                    events[missing.pop(named)] = event
            if not missing:
                break
    return events


def blocks_backwards(descriptor: int) -> Iterator[bytes]:
    """Yield the whole lines of a file in blocks, the last block first, of at most 500 MB."""
    size, begun = os.fstat(descriptor).st_size, b""
    end = size
    while end > max(0, size - MAX_TEXT_BYTES):
        start = max(0, end - BLOCK_BYTES)
        os.lseek(descriptor, start, os.SEEK_SET)
        block = os.read(descriptor, end - start) + begun
        # The first line of a block may have begun in the block before it.
        cut = block.find(b"\n") + 1 if start else 0
        begun = block[:cut] if cut else block
        if cut or not start:
            yield block[cut:]
        if len(begun) > MOST_LINE_BYTES:
            begun = b""
        end = start


def last_event_in(lines: bytes, named: bytes, step: str) -> dict[str, Any] | None:
    """Return the last event of a step in some lines; `named` is how a line names the step."""
    end = len(lines)
    while (at := lines.rfind(named, 0, end)) >= 0:
        end = lines.rfind(b"\n", 0, at) + 1
        line_end = lines.find(b"\n", at)
        line = lines[end : line_end if line_end >= 0 else len(lines)]
        if len(line) <= MOST_LINE_BYTES:
            with contextlib.suppress(ValidationError):
                event = Event.model_validate_json(line.decode(errors="replace"))
                if event.step == step:
                    return event.model_dump()
    return None


def run_status(folder: Path) -> dict[str, Any]:
    """Return the progress of a run, from plan, events and record in its folder.

    "steps" has one entry per step of the plan, "ended" the status of a finished run or
    None, and "said" a sentence about the whole run. Raises RecordError if the folder
    has no plan.
    """
    from ddspec.reports.files import read_document

    plan = read_document(folder, PLAN_JSON, Plan, "a run writes it when it starts")
    path = folder / EVENTS_JSONL
    events = latest_events(path, [step.id for step in plan.steps])
    steps = [
        {
            "id": step.id,
            "done": events.get(step.id, {}).get("done"),
            "total": events.get(step.id, {}).get("total"),
            "unit": events.get(step.id, {}).get("unit", ""),
            "seconds_left": events.get(step.id, {}).get("seconds_left"),
            "time": events.get(step.id, {}).get("time"),
        }
        for step in plan.steps
    ]
    last_event = path.stat().st_mtime if path.exists() else 0.0
    record = folder / RECORD_JSON
    # A record older than the events is that of an earlier run in this folder.
    if record.exists() and record.stat().st_mtime >= last_event:
        outcome = read_document(folder, RECORD_JSON, Record, "run it again").outcome
        cause = f": {outcome.cause}" if outcome.cause else ""
        return {"steps": steps, "ended": outcome.status, "said": f"{outcome.status}{cause}"}
    quiet = plain_duration(time.time() - last_event)
    message = f"last event {quiet} ago" if last_event else "no event so far"
    return {"steps": steps, "ended": None, "said": message}
