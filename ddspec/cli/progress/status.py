"""The command that shows the progress of a run, once or until the run has ended."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ddspec.cli.errors import exit_on_error
from ddspec.cli.options import JsonOutput, RunFolder
from ddspec.cli.printing import (
    draws_over,
    print_json,
    print_lines,
    print_over,
    terminal_width,
)
from ddspec.cli.texts.columns import columns
from ddspec.reports.format import plain_duration, progress_count

WATCH_SECONDS = 2.0
"""Time between two looks at a run, if none is given."""


def status_command(
    folder: RunFolder,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch",
            metavar="[SECONDS]",
            min=0.1,
            help="Refresh until the run has ended, every 2 seconds unless another time is given.",
        ),
    ] = None,
    as_machine: JsonOutput = False,
) -> None:
    """Show the progress of a run, from another shell.

    With --watch, the table is drawn again in its place until the run has ended; where the
    output is not a terminal, it is printed again when something has changed, and with --json
    every look is a line. Ctrl-C ends watching and leaves the run alone.
    """
    with exit_on_error():
        from ddspec.cli.progress.events import run_status

        if watch is not None:
            watch_run(folder, watch, as_machine)
            return
        status = run_status(folder)
        if as_machine:
            print_json(status, indent=1)
        else:
            print_lines(status_lines(status))


def watch_run(folder: Path, seconds: float, as_machine: bool) -> None:
    """Show the progress of a run until it has ended or SIGINT comes."""
    from ddspec.cli.progress.events import run_status

    live, drawn, before = draws_over(sys.stdout), 0, None
    try:
        while True:
            status = run_status(folder)
            if as_machine:
                print_json(status)
            elif live:
                drawn = print_over(status_lines(status, terminal_width()), drawn)
            elif (status["steps"], status["ended"]) != before:
                print_lines([*([] if before is None else [""]), *status_lines(status)])
                before = (status["steps"], status["ended"])
            sys.stdout.flush()
            if status["ended"] is not None:
                return
            time.sleep(seconds)
    except KeyboardInterrupt:
        return


def status_lines(status: dict[str, Any], width: int | None = None) -> list[str]:
    """Return the steps of a run as a table, and a sentence about the whole run."""
    from ddspec.cli.progress.events import ago

    rows = [("step", "done", "left", "last event")]
    for step in status["steps"]:
        left = step["seconds_left"]
        done = "-"
        if step["total"]:
            done = progress_count(step["done"], step["total"], step["unit"])
        rows.append((step["id"], done, plain_duration(left) if left else "-", ago(step["time"])))
    return [*columns(rows, width), status["said"]]
