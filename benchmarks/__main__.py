"""Benchmarks of the engine against plain PyTorch code; see README.md in this folder."""

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


def run_benchmarks(
    device: Annotated[
        Device | None, typer.Option(help="cpu or cuda; by default a GPU if there is one.")
    ] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="How often each side is timed.")] = 5,
    only: Annotated[str, typer.Option(help="Measure only cases whose name contains this.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="JSON file to write, with a table beside it.")
    ] = None,
) -> None:
    """Run the cases, print a line for each, and write every number."""
    machine = this_machine(device)
    torch_device = torch.device(machine.device)
    timings: dict[str, dict[str, Timed]] = {}
    for name, case in cases.CASES.items():
        if only in name:
            timings[name] = case(torch_device, machine.cores, repetitions)
            print(row(name, timings[name]), flush=True)
            if out is not None:
                write(out, machine.device, repetitions, timings)
    if out is not None:
        print(out)


def write(
    out: Path, device: Device, repetitions: int, timings: dict[str, dict[str, Timed]]
) -> None:
    """Write the results so far as JSON, and as a Markdown table beside it."""
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
    """Return the line of a case for the terminal."""
    sides = [f"{side} {timed.median_seconds * 1000:.0f} ms" for side, timed in timings.items()]
    return f"{name}: {', '.join(sides)}"


def table(document: dict[str, object], timings: dict[str, dict[str, Timed]]) -> str:
    """Return the Markdown table that compares every side with the plain ones."""
    environment = document["environment"]
    assert isinstance(environment, dict)
    head = (
        f"{environment['device']}, {environment['cores']} cores, "
        f"torch {environment['packages']['torch']}, "
        f"{document['date']}, commit {environment['commit']}\\\n"
        f"medians over {document['repetitions']} repetitions in turn; in brackets least and most. "
        "Memory is the peak above what was in use before. Growth: time, operations and memory, "
        "divided by those of the first row.\n"
    )
    lines = [
        "| case | side | ms | MB | plain : this | plain with freed memory kept : this | growth |",
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
            cells = [
                name,
                side,
                f"{timed.median_seconds * 1000:.1f}",
                f"{timed.memory_bytes / 1e6:.0f}",
            ]
            growth = growth_text(timed, next(iter(sides.values())))
            lines.append("| " + " | ".join([*cells, *against, growth]) + " |")
    return head + "\n" + "\n".join(lines) + "\n"


def growth_text(timed: Timed, first: Timed) -> str:
    """Return time, operations and memory relative to the first side.

    The text is empty if the case counts no operations.
    """
    if not first.counted:
        return ""
    time, counted = timed.median_seconds / first.median_seconds, timed.counted / first.counted
    return f"time {time:.2f}, operations {counted:.2f}, memory {memory_ratio(timed, first):.2f}"


def memory_ratio(timed: Timed, first: Timed) -> float:
    """Return the peak memory relative to that of the first side."""
    return timed.memory_bytes / max(1, first.memory_bytes)


if __name__ == "__main__":
    typer.run(run_benchmarks)
