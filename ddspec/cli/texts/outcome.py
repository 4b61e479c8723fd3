"""The results of a run or a sweep as text on the terminal."""

from typing import TYPE_CHECKING

import typer

from ddspec.cli.errors import RUN_FAILED
from ddspec.cli.printing import print_line, print_path, print_stderr
from ddspec.dsl.record.record import SUBJECT_WORDS

if TYPE_CHECKING:
    from ddspec.api import CompiledSpec, Run
    from ddspec.sweeps import CompiledSweep, SweepRun


def print_run(run: "Run") -> None:
    """Print accuracy, baselines, report and, as the last line, the run folder.

    Exits with RUN_FAILED if the run diverged.
    """
    record = run.record
    outcome, results, accuracy = record.outcome, record.results, record.results.accuracy
    if run.repeated:
        print_line(f"done already on {record.date}; nothing was computed")
    if accuracy is not None:
        chosen = f"{accuracy.choose} at iteration {accuracy.iteration}"
        print_line(f"accuracy {accuracy.text} (n = {accuracy.n}, {accuracy.network}, {chosen})")
        for subject, per_network in results.baselines.items():
            for baseline in per_network.values():
                networks = f"(n = {baseline.n}, {baseline.network})"
                print_line(f"{SUBJECT_WORDS[subject]} {baseline.text} {networks}")
    if record.plan.preview:
        print_line("a preview, shrunk to minutes: these numbers say nothing about the method")
    for sign in record.warnings:
        print_stderr(f"warning: {sign.text}")
    print_line(f"report {run.report}")
    if outcome.status != "done":
        iteration = "" if outcome.iteration is None else f" at iteration {outcome.iteration}"
        print_stderr(f"{outcome.status}{iteration}: {outcome.cause}")
        print_stderr(f"  = hint: {outcome.advice}")
        print_stderr("  = this outcome is kept; --retry computes it again")
    print_path(run.folder)
    if outcome.status != "done":
        raise typer.Exit(RUN_FAILED)


def print_sweep(sweep: "SweepRun") -> None:
    """Print one line per run, the report and, as the last line, the sweep's folder.

    Exits with RUN_FAILED if any run did not end as "done".
    """
    for run in sweep.record.runs:
        cause = f": {run.cause}" if run.cause else ""
        print_line(f"{run.label}: {run.accuracy.text if run.accuracy else run.status}{cause}")
        for sign in run.warnings:
            print_stderr(f"warning: {run.label}: {sign.text}")
    for group in sweep.record.groups:
        name = f"{', '.join(group.entries)}: " if group.entries else ""
        sets = f"+- {group.std_over_sets:.2f} over {len(group.runs)} sets"
        print_line(f"{name}{group.accuracy.text} over {group.accuracy.n} networks, {sets}")
        for compared in group.compared:
            published = compared.expectation
            print_line(
                f"published {published.accuracy:g} % ({published.source}): {compared.verdict}, "
                f"{compared.difference:+.2f} points"
            )
    print_line(f"report {sweep.report}")
    print_path(sweep.folder)
    if any(run.status != "done" for run in sweep.record.runs):
        raise typer.Exit(RUN_FAILED)


def run_label(sweep: "CompiledSweep", compiled: "CompiledSpec") -> str:
    """Return the number and the label of one run of a sweep, for example "[2/5] seed = 1"."""
    plans = sweep.plans
    number = next(number for number, plan in enumerate(plans) if plan is compiled)
    return f"[{number + 1}/{len(plans)}] {sweep.members[number][0].combination.label}"
