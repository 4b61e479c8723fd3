"""Sweeps: several runs from one file, with shared work computed once."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from pydantic import ValidationError

from ddspec import api
from ddspec.api import DEFAULT_RUNS, CompiledSpec, CompileOptions, Run
from ddspec.dsl.diagnostics import DdspecError
from ddspec.dsl.digest import digest
from ddspec.dsl.parsing.loader import LoadedSweep, SweptSpec
from ddspec.dsl.record.file_names import REPORT_HTML, SPEC_TOML, SWEEP_JSON
from ddspec.dsl.record.seed_groups import seed_groups
from ddspec.dsl.record.sweep import SweepRecord, SweptAxis, SweptRun
from ddspec.dsl.regular_file import read_regular_file
from ddspec.functions.loading import AnyPath, Overrides, SpecSource, load_sweep
from ddspec.functions.progress import ProgressOption, control_of

if TYPE_CHECKING:
    from ddspec.engine.control import Control


@dataclass(frozen=True)
class CompiledSweep:
    """A sweep with a plan for every combination."""

    loaded: LoadedSweep
    plans: tuple[CompiledSpec, ...]
    """One per member of `loaded`, in the same order."""

    def __repr__(self) -> str:
        return f"<CompiledSweep {self.plans[0].plan.name}: {len(self.plans)} runs>"

    @property
    def members(self) -> list[tuple[SweptSpec, CompiledSpec]]:
        """Pairs of a combination and its plan."""
        return list(zip(self.loaded.members, self.plans, strict=True))


@dataclass(frozen=True)
class SweepRun:
    """A sweep that was executed: its folder and the record of its runs."""

    folder: Path
    record: SweepRecord

    def __repr__(self) -> str:
        done = sum(run.status == "done" for run in self.record.runs)
        return f"<SweepRun {self.folder}: {done} of {len(self.record.runs)} runs done>"

    @property
    def report(self) -> Path:
        """Path of the HTML report."""
        return self.folder / REPORT_HTML


WatchRun = Callable[[CompiledSpec], "AbstractContextManager[Control]"]
"""Returns a context that yields the control of a run, closed when the run ends."""


def compile_sweep(
    sweep: LoadedSweep | SpecSource,
    overrides: Overrides = (),
    **options: Unpack[CompileOptions],
) -> CompiledSweep:
    """Compile every combination of a sweep.

    `sweep` is what `load_sweep` returns, or what it takes; the other arguments are those of
    `compile`.
    """
    if isinstance(sweep, LoadedSweep) and overrides:
        raise ValueError("the sweep is loaded already: give overrides to ddspec.load_sweep")
    loaded = sweep if isinstance(sweep, LoadedSweep) else load_sweep(sweep, overrides)
    plans = [api.compile(member.loaded, **options) for member in loaded.members]
    return CompiledSweep(loaded, tuple(plans))


def run_sweep(
    sweep: CompiledSweep | LoadedSweep | SpecSource,
    overrides: Overrides = (),
    *,
    runs: AnyPath = DEFAULT_RUNS,
    retry: bool = False,
    stop_on_failure: bool = False,
    on_progress: ProgressOption = "text",
    save_every: float | None = None,
    watching: WatchRun | None = None,
    **options: Unpack[CompileOptions],
) -> SweepRun:
    """Run every combination, one after the other, and write the sweep's folder.

    `sweep` is what `compile_sweep` or `load_sweep` returns, or what they take. A run reuses
    every artifact that earlier runs left in the store. If a run fails or diverges, the others
    still run, unless `stop_on_failure` is set. A signal stops the sweep and raises
    Interrupted; the same call later continues it. The other arguments are those of `run`;
    `watching` replaces `on_progress` and `save_every`.
    """
    if not isinstance(sweep, CompiledSweep):
        sweep = compile_sweep(sweep, overrides, **options)
    elif overrides or options:
        raise ValueError("the sweep is compiled already: give options to ddspec.compile_sweep")

    def reporting(compiled: CompiledSpec) -> "AbstractContextManager[Control]":
        return nullcontext(control_of(on_progress, save_every))

    return run_members(sweep, Path(runs), watching or reporting, retry, stop_on_failure)


def run_members(
    sweep: CompiledSweep, runs: Path, watching: WatchRun, retry: bool, stop_on_failure: bool
) -> SweepRun:
    """Run every combination and write the sweep's folder; see `run_sweep`."""
    from ddspec.engine.control import Interrupted

    done = earlier_runs(sweep, runs)
    folder = write_sweep_folder(sweep, done, runs)
    for number, (_, plan) in enumerate(sweep.members):
        try:
            with watching(plan) as control:
                run = api.run(plan, runs=runs, control=control, retry=retry)
        except Interrupted as interruption:
            outcome = {"status": "interrupted", "cause": str(interruption)}
            done[number] = planned_run(sweep, number).model_copy(update=outcome)
            write_sweep_folder(sweep, done, runs)
            raise
        except (DdspecError, OSError, MemoryError, RuntimeError) as error:
            outcome = {"status": "failed", "cause": str(error)}
            done[number] = planned_run(sweep, number).model_copy(update=outcome)
        else:
            done[number] = with_outcome(planned_run(sweep, number), run)
        folder = write_sweep_folder(sweep, done, runs)
        if stop_on_failure and done[number].status != "done":
            break
    return SweepRun(folder, make_sweep_record(sweep, done))


def earlier_runs(sweep: CompiledSweep, runs: Path) -> dict[int, SweptRun]:
    """Return the runs that an earlier call left in the sweep's folder, by number.

    What a run is comes from the sweep; its outcome comes from the folder, if that is of the same
    plan and whole.
    """
    path = runs / make_sweep_record(sweep, {}).folder / SWEEP_JSON
    try:
        record = SweepRecord.model_validate_json(read_regular_file(path))
    except (OSError, ValidationError):
        return {}
    done = {}
    for number, earlier in enumerate(record.runs[: len(sweep.plans)]):
        planned = planned_run(sweep, number)
        is_whole = earlier.accuracy is None or len(earlier.accuracy.values) == earlier.accuracy.n
        if earlier.status != "not run" and earlier.digest == planned.digest and is_whole:
            identity = planned.model_dump(include=IDENTITY)
            done[number] = earlier.model_copy(update=identity)
    return done


IDENTITY = {"label", "entries", "after", "settings", "folder", "digest"}
"""Fields of a run of a sweep that its spec gives."""


def planned_run(sweep: CompiledSweep, number: int) -> SweptRun:
    """Return the entry of one combination before it has run."""
    member, plan = sweep.members[number]
    combination = member.combination
    return SweptRun(
        label=combination.label,
        entries=tuple(entry.label for entry in combination.entries),
        after=next((e.after for e in combination.entries if e.after), None),
        settings={change.key: change.value for change in combination.changes},
        folder=plan.plan.folder,
        digest=plan.plan.digest,
        status="not run",
    )


def with_outcome(swept: SweptRun, run: Run) -> SweptRun:
    """Return the entry of a combination with the outcome and the results of its run."""
    record = run.record
    outcome = {
        "status": record.outcome.status,
        "cause": record.outcome.cause,
        "warnings": record.warnings,
        "accuracy": record.results.accuracy,
        "random_real": next(iter(record.results.random_real.values()), None),
        "expert": record.results.expert,
        "avg_var": next((e.avg_var for e in record.experts if e.index == 0), None),
        "compared": record.compared,
        "seconds": record.wall_seconds,
    }
    return swept.model_copy(update=outcome)


def make_sweep_record(sweep: CompiledSweep, done: dict[int, SweptRun]) -> SweepRecord:
    """Return the record of a sweep in which the runs in `done` have ended."""
    loaded, first = sweep.loaded, sweep.plans[0]
    swept_runs = [
        done[number] if number in done else planned_run(sweep, number)
        for number in range(len(sweep.plans))
    ]
    axes = tuple(
        SweptAxis(name=axis.name, entries=tuple(entry.label for entry in axis.entries))
        for axis in loaded.axes
    )
    return SweepRecord(
        name=first.plan.name,
        title=first.plan.title,
        digest=digest({"runs": [[swept.label, swept.digest] for swept in swept_runs]}),
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        axes=axes,
        runs=tuple(swept_runs),
        groups=seed_groups(axes, swept_runs),
        spec=loaded.source.text,
        overrides=shared_overrides(loaded.members),
    )


def shared_overrides(members: Sequence[SweptSpec]) -> tuple[str, ...]:
    """Return the `--set` options of the command line, which apply to every member."""
    overrides = members[0].loaded.overrides
    return tuple(override.option for override in overrides if override.value_path is None)


def write_sweep_folder(sweep: CompiledSweep, done: dict[int, SweptRun], runs: Path) -> Path:
    """Write the sweep's spec, record and report; return its folder."""
    from ddspec.dsl.atomic_write import write_text
    from ddspec.reports.pages.sweep import render_sweep

    record = make_sweep_record(sweep, done)
    folder = runs / record.folder
    write_text(folder / SPEC_TOML, record.spec)
    write_text(folder / SWEEP_JSON, record.model_dump_json(indent=1))
    render_sweep(folder)
    return folder
