"""Sweeps: several runs out of one file, with what they share computed once."""

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
from ddspec.dsl.record.sweep import SWEEP_JSON, SweepRecord, SweptAxis, SweptRun

if TYPE_CHECKING:
    from ddspec.engine.control import Control


@dataclass(frozen=True)
class CompiledSweep:
    """A plan for every combination."""

    loaded: LoadedSweep
    plans: tuple[CompiledSpec, ...]
    """In the order of the members."""

    @property
    def members(self) -> list[tuple[SweptSpec, CompiledSpec]]:
        """Every combination with its plan."""
        return list(zip(self.loaded.members, self.plans, strict=True))


@dataclass(frozen=True)
class SweepRun:
    """A sweep that was carried out: its folder and what became of its runs."""

    folder: Path
    record: SweepRecord

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.folder / "report.html"


def compile_sweep(loaded: LoadedSweep, **options: Unpack[CompileOptions]) -> CompiledSweep:
    """The plans of all combinations; see `api.compile`."""
    plans = [api.compile(member.loaded, **options) for member in loaded.members]
    return CompiledSweep(loaded, tuple(plans))


Watching = Callable[[CompiledSpec], "AbstractContextManager[Control]"]
"""Gives the control of one run for as long as it lasts."""


def unwatched(compiled: CompiledSpec) -> "AbstractContextManager[Control]":
    """A run that nobody looks at."""
    from ddspec.engine.control import Control

    return nullcontext(Control())


def run_sweep(
    sweep: CompiledSweep,
    *,
    runs: Path = DEFAULT_RUNS,
    watching: Watching = unwatched,
    retry: bool = False,
    stop_on_failure: bool = False,
) -> SweepRun:
    """Carry out every combination, one after the other, and write the sweep's folder.

    What runs share is computed once and found by the next in the store; so is all that was done
    before. A run that fails or runs away does not stop the others unless `stop_on_failure`; a
    signal stops all, and the same call goes on.
    """
    from ddspec.engine.control import Interrupted

    done = known_before(sweep, runs)
    folder = write(sweep, done, runs)
    for number, (_, plan) in enumerate(sweep.members):
        before, began = done.get(number), time.monotonic()
        try:
            with watching(plan) as control:
                finished = api.run(plan, runs=runs, control=control, retry=retry)
        except Interrupted as stopped:
            left = {"status": "interrupted", "cause": str(stopped)}
            done[number] = untouched(sweep, number).model_copy(update=left)
            write(sweep, done, runs)
            raise
        except (DdspecError, OSError, MemoryError, RuntimeError) as error:
            left = {"status": "failed", "cause": str(error)}
            done[number] = untouched(sweep, number).model_copy(update=left)
        else:
            taken = time.monotonic() - began
            if before is not None and reused_everything(finished):
                taken = before.seconds
            done[number] = outcome(untouched(sweep, number), finished, taken)
        folder = write(sweep, done, runs)
        if stop_on_failure and done[number].status != "done":
            break
    return SweepRun(folder, record_of(sweep, done))


def known_before(sweep: CompiledSweep, runs: Path) -> dict[int, SweptRun]:
    """What an earlier call left in the sweep's folder, by number."""
    try:
        earlier = (runs / record_of(sweep, {}).folder / SWEEP_JSON).read_bytes()
        found = SweepRecord.model_validate_json(earlier).runs
    except (OSError, ValidationError):
        return {}
    return {number: run for number, run in enumerate(found) if run.status != "not run"}


def reused_everything(run: Run) -> bool:
    """Whether a run computed nothing itself."""
    return all(step.status == "reused" for step in run.record.steps)


def untouched(sweep: CompiledSweep, number: int) -> SweptRun:
    """One combination before it ran."""
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


def outcome(swept: SweptRun, run: Run, seconds: float) -> SweptRun:
    """What came of it."""
    record = run.record
    found = {
        "status": record.outcome.status,
        "cause": record.outcome.cause,
        "accuracy": record.results.accuracy,
        "random_real": next(iter(record.results.random_real.values()), None),
        "expert": record.results.expert,
        "avg_var": record.experts[0].avg_var if record.experts else None,
        "compared": record.compared,
        "seconds": seconds,
    }
    return swept.model_copy(update=found)


def record_of(sweep: CompiledSweep, done: dict[int, SweptRun]) -> SweepRecord:
    """The sweep as far as it went."""
    loaded, first = sweep.loaded, sweep.plans[0]
    entries = [
        done[number] if number in done else untouched(sweep, number)
        for number in range(len(sweep.plans))
    ]
    return SweepRecord(
        name=first.plan.name,
        title=first.plan.title,
        digest=digest({"runs": [[one.label, one.digest] for one in entries]}),
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        axes=tuple(
            SweptAxis(name=axis.name, entries=tuple(entry.label for entry in axis.entries))
            for axis in loaded.axes
        ),
        runs=tuple(entries),
        spec=loaded.source.text,
        overrides=common_overrides(loaded.members),
    )


def common_overrides(members: Sequence[SweptSpec]) -> tuple[str, ...]:
    """What the command line changed in all of them."""
    overrides = members[0].loaded.overrides
    return tuple(override.option for override in overrides if override.place is None)


def write(sweep: CompiledSweep, done: dict[int, SweptRun], runs: Path) -> Path:
    """Write the sweep's folder; returns it."""
    from ddspec.engine.store.store import write_text
    from ddspec.reports.pages.sweep import render_sweep

    record = record_of(sweep, done)
    folder = runs / record.folder
    write_text(folder / "spec.toml", record.spec)
    write_text(folder / SWEEP_JSON, record.model_dump_json(indent=1))
    render_sweep(folder)
    return folder
