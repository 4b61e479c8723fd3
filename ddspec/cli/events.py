"""events.jsonl: progress of a run, written while it runs and read from another shell.

Each line is a JSON object with the fields of `Event` and the current figures of the
step.
"""

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.file_names import EVENTS_JSONL, PLAN_JSON, RECORD_JSON
from ddspec.dsl.record.record import Record
from ddspec.dsl.regular_file import read_regular_file
from ddspec.reports.format import plain_duration

if TYPE_CHECKING:
    from ddspec.engine.control import Progress


MOST_SECONDS = 1e10
"""Longest time left that is accepted; ddspec never writes a longer one, nor NaN."""


class Event(BaseModel):
    """The fields of a line of events.jsonl that `status` reads."""

    step: str
    time: str
    """UTC, ISO 8601."""
    done: int
    total: int
    seconds_left: Annotated[float, Field(ge=0, le=MOST_SECONDS)] | None


def append_event(path: Path, progress: "Progress", seconds_left: float | None) -> None:
    """Append one line to events.jsonl, in a folder that is made if it is missing.

    An unwritable file is ignored: it must not stop the run.
    """
    event = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "step": progress.step,
        "done": progress.done,
        "total": progress.total,
        "seconds_left": seconds_left,
        **{name: json_number(value) for name, value in progress.figures.items()},
    }
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def json_number(value: float) -> float | None:
    """Return the value, or None for NaN and infinities, which JSON cannot hold."""
    return value if value == value and abs(value) != float("inf") else None


def latest_events(path: Path) -> dict[str, dict[str, Any]]:
    """Return the last event of each step; half-written lines are skipped."""
    events: dict[str, dict[str, Any]] = {}
    try:
        lines = read_regular_file(path).decode(errors="replace").splitlines()
    except OSError:
        return events
    for line in lines:
        try:
            event = Event.model_validate_json(line)
        except ValidationError:
            continue
        events[event.step] = event.model_dump()
    return events


def run_status(folder: Path) -> dict[str, Any]:
    """Return the progress of a run, from plan, events and record in its folder.

    "steps" has one entry per step of the plan, "ended" the status of a finished run or
    None, and "said" a sentence about the whole run. Raises RecordError if the folder
    has no plan.
    """
    from ddspec.reports.files import read_document

    plan = read_document(folder, PLAN_JSON, Plan, "a run writes it when it starts")
    path = folder / EVENTS_JSONL
    events = latest_events(path)
    steps = [
        {
            "id": step.id,
            "done": events.get(step.id, {}).get("done"),
            "total": events.get(step.id, {}).get("total"),
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
