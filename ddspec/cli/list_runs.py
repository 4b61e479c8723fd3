"""The command that lists the runs of a folder in the terminal."""

from pathlib import Path
from typing import Annotated

import typer

from ddspec.api import DEFAULT_RUNS
from ddspec.cli.errors import exit_on_error
from ddspec.cli.options import JsonOutput
from ddspec.cli.printing import print_json, print_lines, print_stderr, terminal_width
from ddspec.cli.texts.run_table import (
    RunFilter,
    SortKey,
    run_lines,
    runs_json,
    sorted_runs,
)
from ddspec.dsl.record.record import RunStatus


def runs_command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder that contains run folders.")
    ] = DEFAULT_RUNS,
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="Part of a name or a title.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Runs on this dataset.")
    ] = None,
    ipc: Annotated[
        int | None, typer.Option("--ipc", metavar="N", help="Runs with N images per class.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option("--network", metavar="NAME", help="Runs evaluated on this network."),
    ] = None,
    outcome: Annotated[
        RunStatus | None, typer.Option("--outcome", help="Runs that ended so.")
    ] = None,
    sort: Annotated[
        SortKey,
        typer.Option("--sort", help="Order of the runs; date and accuracy from the highest down."),
    ] = "date",
    as_machine: JsonOutput = False,
) -> None:
    """List the runs and sweeps in a folder.

    A row has the run folder, the day, the outcome with signs of failure, the setting, the
    accuracy in percent (mean +- std over networks), the seed, and what --set or a sweep
    changed. Sweeps stand below the runs; options other than --name leave them out.
    Folders that cannot be read are named on stderr. On a terminal, long names are cut, and a
    narrow one has fewer columns.
    """
    with exit_on_error():
        from ddspec.reports.pages.run_list import list_runs

        listed = list_runs(folder, thumbnails=False)
        wanted = RunFilter(name, dataset, ipc, network, outcome)
        runs = sorted_runs([row for row in listed.runs if wanted.keeps(row)], sort)
        sweeps = [row for row in listed.sweeps if wanted.keeps_sweep(row)]
        if as_machine:
            print_json(runs_json(runs, sweeps, listed.unread), indent=1)
            return
        if runs or sweeps:
            print_lines(run_lines(runs, sweeps, terminal_width()))
        elif listed.runs or listed.sweeps:
            print_stderr("no run matches these options")
        for unread, reason in listed.unread:
            print_stderr(f"not listed: {unread}: {reason}")
