"""`python -m benchmarks` measures the engine against how the field does it; see README.md here."""

import json
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import cases
from benchmarks.measure import Timed, ratios, results_json
from ddspec.dsl.terms import Device
from ddspec.engine.machine.environment import environment, this_machine


def main(
    device: Annotated[Device | None, typer.Option(help="Else a GPU where there is one.")] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Of every side, in turn.")] = 5,
    only: Annotated[str, typer.Option(help="Cases whose name holds this.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where the JSON goes.")] = None,
) -> None:
    """Measure, print a table, and write every number."""
    machine = this_machine(device)
    place = torch.device(machine.device)
    timings: dict[str, dict[str, Timed]] = {}
    for name, case in cases.CASES.items():
        if only in name:
            timings[name] = case(place, machine.cores, repetitions)
            print(row(name, timings[name]), flush=True)
            if out is not None:
                write(out, machine.device, repetitions, timings)
    if out is not None:
        print(out)


def write(
    out: Path, device: Device, repetitions: int, timings: dict[str, dict[str, Timed]]
) -> None:
    """What was measured so far, as JSON and as a table beside it."""
    document = {
        "environment": environment(device).model_dump(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "repetitions": repetitions,
        "cases": {name: results_json(timed) for name, timed in timings.items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(table(document, timings), encoding="utf-8")


def row(name: str, timings: dict[str, Timed]) -> str:
    """A line for the terminal."""
    sides = [f"{side} {timed.middle * 1000:.0f} ms" for side, timed in timings.items()]
    return f"{name}: {', '.join(sides)}"


def table(document: dict[str, object], timings: dict[str, dict[str, Timed]]) -> str:
    """The Markdown table: every side against the plain ones."""
    environment = document["environment"]
    assert isinstance(environment, dict)
    head = (
        f"{environment['device']}, {environment['cores']} cores, "
        f"torch {environment['packages']['torch']}, "
        f"{document['date']}, commit {environment['commit']}\\\n"
        f"medians over {document['repetitions']} repetitions in turn; in brackets least and most. "
        "Memory is the peak over what was in use before. Grown: time, operations and memory in "
        "those of the first.\n"
    )
    lines = [
        "| case | side | ms | MB | plain : this | plain with our allocator : this | grown |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, sides in timings.items():
        for side, timed in sides.items():
            against = [
                "{1:.2f} ({0:.2f} to {2:.2f})".format(*ratios(sides[plain], timed))
                if plain in sides and not side.startswith("plain")
                else ""
                for plain in (cases.PLAIN, cases.PLAIN_KEPT)
            ]
            cells = [name, side, f"{timed.middle * 1000:.1f}", f"{timed.memory_bytes / 1e6:.0f}"]
            growth = grown(timed, next(iter(sides.values())))
            lines.append("| " + " | ".join([*cells, *against, growth]) + " |")
    return head + "\n" + "\n".join(lines) + "\n"


def grown(timed: Timed, first: Timed) -> str:
    """Time, operations and memory in those of the first side, where operations are counted."""
    if not first.counted:
        return ""
    time, counted = timed.middle / first.middle, timed.counted / first.counted
    return f"time {time:.2f}, operations {counted:.2f}, memory {memory_ratio(timed, first):.2f}"


def memory_ratio(timed: Timed, first: Timed) -> float:
    """Peak memory in that of the first side."""
    return timed.memory_bytes / max(1, first.memory_bytes)


if __name__ == "__main__":
    typer.run(main)
