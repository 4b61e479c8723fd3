"""events.jsonl is read from its end, with the same answer as reading all of it."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ddspec.cli.progress import events
from ddspec.cli.progress.events import BLOCK_BYTES, Event, latest_events

STEPS = ("dataset", "experts", 'dis"till\u00e9', "evaluate-convnet")


def event_line(step: str, done: int) -> str:
    event = {
        "time": f"2031-{done:08d}",
        "step": step,
        "done": done,
        "total": 10**9,
        "seconds_left": 1.5,
    }
    return json.dumps({**event, "matching loss": 0.25}) + "\n"


def all_events(path: Path) -> dict[str, dict[str, Any]]:
    """Return the last event of each step by parsing every line."""
    found = {}
    for line in path.read_bytes().split(b"\n"):
        try:
            event = Event.model_validate_json(line.decode(errors="replace"))
        except ValidationError:
            continue
        found[event.step] = event.model_dump()
    return found


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("block", [64, 200, 1000, BLOCK_BYTES])
def test_last_events_are_those_of_a_reader_of_all_lines(tmp_path, monkeypatch, seed, block):
    monkeypatch.setattr(events, "BLOCK_BYTES", block)
    draw, path, lines = random.Random(seed), tmp_path / "events.jsonl", []
    for done in range(60):
        line = event_line(draw.choice(STEPS[: 1 + draw.randrange(4)]), done)
        match draw.randrange(6):
            case 0:
                line = line[: draw.randrange(len(line))] + draw.choice(["\n", ""])
            case 1:
                line = draw.choice(["\n", "\xff\n", '{"step": "dataset"}\n', '"step": "experts"'])
            case _:
                pass
        lines.append(line)
    path.write_bytes("".join(lines).encode("latin-1"))
    assert latest_events(path, STEPS) == all_events(path)


@pytest.fixture(scope="module")
def long_file(tmp_path_factory) -> Path:
    """Write 130 MB of events of two steps, of which one ended early, and of no third."""
    path = tmp_path_factory.mktemp("long") / "events.jsonl"
    with path.open("w") as file:
        file.write(event_line("dataset", 1))
        part = "".join(event_line("experts", done) for done in range(10_000))
        for _ in range(130_000_000 // len(part)):
            file.write(part)
        file.write(event_line("dataset", 2) + event_line("experts", 7) + '{"step": "exp')
    return path


def test_long_file_is_read_from_its_end_until_all_steps_are_found(long_file, monkeypatch):
    read, real = [], os.read

    def count(descriptor: int, size: int) -> bytes:
        read.append(real(descriptor, size))
        return read[-1]

    monkeypatch.setattr(events.os, "read", count)
    found = latest_events(long_file, ["dataset", "experts"])
    assert {step: event["done"] for step, event in found.items()} == {"dataset": 2, "experts": 7}
    assert sum(map(len, read)) <= BLOCK_BYTES


def test_lines_of_other_steps_are_not_parsed(long_file, monkeypatch):
    parsed, real = [], Event.model_validate_json

    def count(line: str) -> Event:
        parsed.append(line)
        return real(line)

    monkeypatch.setattr(events.Event, "model_validate_json", count)
    found = latest_events(long_file, ["dataset", "experts", "distill"])
    assert found.keys() == {"dataset", "experts"}
    assert len(parsed) <= 3


def test_endless_line_takes_no_more_memory_than_a_block(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(event_line("dataset", 1).encode() + b"x" * (3 * BLOCK_BYTES))
    assert latest_events(path, ["dataset"])["dataset"]["done"] == 1
