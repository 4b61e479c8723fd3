"""Reproductions: a shared experiment runs again and every number is compared."""

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ddspec import api
from ddspec.api import CompiledSpec, Run
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.digest import Difference, Preimage, differences
from ddspec.dsl.parsing.loader import LoadedSpec, load_spec
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.agreement import against_published, compare_records, reasons_bits_may_differ
from ddspec.dsl.record.file_names import (
    RECORD_JSON,
    REPRODUCTION_HTML,
    REPRODUCTION_JSON,
)
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.reproduction import Origin, Reproduction, overall
from ddspec.dsl.record.results import accuracy_of
from ddspec.dsl.record.statistics import equal_to_rounding
from ddspec.dsl.regular_file import read_regular_file, resolved
from ddspec.dsl.terms import Device
from ddspec.functions.loading import AnyPath
from ddspec.functions.progress import ProgressOption, control_of
from ddspec.recorded_spec import check_same_spec, describe_differences, load_recorded_spec
from ddspec.reports.embed import embedded_record, embedded_resolved_spec, first_error
from ddspec.verification.record import refuse_false_statements

if TYPE_CHECKING:
    from ddspec.engine.control import Control

WatchFolder = Callable[[Path], "AbstractContextManager[Control]"]
"""Returns a context for a run folder that yields the control of the run and is closed
when the run ends."""


@dataclass(frozen=True)
class Shared:
    """A shared experiment: a record, or a spec with published numbers."""

    origin: Origin
    loaded: LoadedSpec
    record: Record | None
    """The shared record; None for a spec."""


@dataclass(frozen=True)
class Prepared:
    """A shared experiment that was checked and compiled, ready to be run again."""

    shared: Shared
    compiled: CompiledSpec
    folder: Path
    """Receives the runs, the verdict and, unless a store was given, the store."""
    store_given: bool
    """Whether the caller named the store, whose artifacts are then reused."""


@dataclass(frozen=True)
class ReproductionResult:
    """A finished reproduction: its folder and its verdict."""

    folder: Path
    """Holds the verdict as JSON and as a page, the run, and the store if it was new."""
    reproduction: Reproduction

    def __repr__(self) -> str:
        return f"<ReproductionResult {self.folder}: {self.reproduction.verdict}>"

    @property
    def page(self) -> Path:
        """Path of the HTML page that compares both runs."""
        return self.folder / REPRODUCTION_HTML


def reproduce(
    source: AnyPath,
    *,
    data: AnyPath | None = None,
    store: AnyPath | None = None,
    to: AnyPath = api.DEFAULT_REPRODUCTIONS,
    device: Device | None = None,
    on_progress: ProgressOption = "text",
    watching: WatchFolder | None = None,
) -> ReproductionResult:
    """Run a shared experiment again and compare every number.

    `source` is a record.json, a report.html or a spec with [[expect]] tables. The run
    uses a fresh store within `to`, unless `store` names one, whose artifacts are then
    reused. `on_progress` is that of `ddspec.run`; `watching` replaces it.

    Raises RecordError, before anything runs, if the numbers cannot be compared: the
    images differ, the language version differs, or the settings are not those of the
    numbers.
    """
    data, store = (None if path is None else Path(path) for path in (data, store))
    prepared = prepare(Path(source), data=data, store=store, to=Path(to), device=device)
    run = run_again(prepared, watching or (lambda folder: nullcontext(control_of(on_progress))))
    return write_reproduction(prepared.folder, judge(prepared, run))


def prepare(
    source: Path, *, data: Path | None, store: Path | None, to: Path, device: Device | None
) -> Prepared:
    """Read, check and compile what was shared; clear an earlier finished reproduction.

    Raises RecordError if the numbers cannot be compared; nothing is deleted in that
    case.
    """
    shared = read_shared(source)
    record = shared.record
    if record is not None:
        check_recorded_means(record)
        check_ended(record)
        refuse_false_statements(record, shared.loaded)
    folder = to / (record.plan.folder if record else shared.loaded.spec.name)
    own_store = folder / "store"
    finished = (folder / REPRODUCTION_JSON).exists()
    compiled = api.compile(shared.loaded, data=data, store=store or own_store, device=device)
    if record is not None:
        compiled = check_comparable(compiled, record)
    if finished:
        clear_finished(folder, keep=store)
        # The images went into the store that was just deleted: read them into the new one.
        api.compile(compiled.loaded, data=data, store=compiled.store, device=device)
    return Prepared(shared, compiled, folder, store_given=store is not None)


def run_again(prepared: Prepared, watching: WatchFolder) -> Run:
    """Run the prepared plan in the folder of its reproduction."""
    runs = prepared.folder / "runs"
    run_folder = runs / prepared.compiled.plan.folder
    with watching(run_folder) as control:
        return api.run(prepared.compiled, runs=runs, control=control)


def judge(prepared: Prepared, run: Run) -> Reproduction:
    """Compare the numbers of the new run with the shared ones.

    Numbers of a record are NOT COMPARABLE if the given store already held the distilled
    set or its evaluations. A paper's numbers are compared in any case.
    """
    from ddspec.engine.machine.environment import environment

    shared, record = prepared.shared, run.record
    reused = reused_steps(record) if prepared.store_given else ()
    if shared.record is None:
        reasons: tuple[str, ...] = ()
        numbers = tuple(against_published(record, shared.loaded.spec.expect))
        verdict = overall(numbers)
    else:
        reasons = tuple(reasons_bits_may_differ(shared.record, record))
        numbers = tuple(compare_records(shared.record, record, reasons))
        result_steps = {"distill", *(step.id for step in record.plan.evaluations("distilled"))}
        verdict = overall(numbers) if result_steps.isdisjoint(reused) else "NOT COMPARABLE"
    return Reproduction(
        origin=shared.origin,
        name=record.name,
        title=record.title,
        digest=record.plan.digest,
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        verdict=verdict,
        numbers=numbers,
        may_differ=reasons,
        reused=reused,
        recorded_in=shared.record.environment if shared.record else None,
        found_in=environment(record.plan.steps[0].route.device),
        folder=run.folder.name,
    )


def reused_steps(record: Record) -> tuple[str, ...]:
    """Return the steps that a run did not compute itself, apart from the dataset."""
    return tuple(
        step.id for step in record.steps if step.kind != "dataset" and step.status != "computed"
    )


def write_reproduction(folder: Path, reproduction: Reproduction) -> ReproductionResult:
    """Write the verdict as a page and as JSON."""
    from ddspec.dsl.atomic_write import write_text
    from ddspec.reports.pages.reproduction import render_reproduction

    # The page goes first: the JSON file marks the reproduction as finished.
    render_reproduction(folder, reproduction)
    write_text(folder / REPRODUCTION_JSON, reproduction.model_dump_json(indent=1))
    return ReproductionResult(folder, reproduction)


def read_shared(source: Path) -> Shared:
    """Read a record.json, a report.html or a spec with [[expect]] tables.

    Raises RecordError if the file is damaged or contradicts itself, and SpecError if
    the spec has mistakes.
    """
    if source.suffix == ".toml":
        loaded = load_spec(source)
        if not loaded.spec.expect:
            raise RecordError(
                f"{source} names no published number to compare with",
                hint="add [[expect]] tables, or give a record.json or a report.html",
            )
        return Shared("spec", loaded, None)
    record = read_shared_record(source)
    return Shared("report" if is_page(source) else "record", load_recorded_spec(record), record)


def is_page(source: Path) -> bool:
    """Return whether a shared file is a page."""
    return source.suffix in (".html", ".htm")


def read_shared_record(source: Path) -> Record:
    """Read a record.json, or the record in a report.html.

    Raises RecordError if the file is damaged, or if a page shows another spec than its record.
    """
    text = read_shared_text(source)
    if is_page(source):
        record = embedded_record(text)
        check_same_spec(
            record.resolved,
            embedded_resolved_spec(text),
            "the resolved spec in the page",
            "its record",
        )
        return record
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        problem = f"{source} is damaged or is not a record: {first_error(error)}"
        raise RecordError(problem, hint="give a record.json, a report.html or a spec") from None


def read_shared_text(source: Path) -> str:
    """Read a shared text file of at most MAX_TEXT_BYTES.

    Raises RecordError if it is a folder, too large, unreadable or not UTF-8.
    """
    try:
        if source.is_dir():
            raise RecordError(f"{source} is a folder", hint=f"give {source / RECORD_JSON}")
        return read_regular_file(source).decode()
    except OSError as error:
        raise RecordError(f"{source} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecordError(f"{source} is not a text file in UTF-8") from None


def check_ended(record: Record) -> None:
    """Raise RecordError if the record is of a run that was stopped or failed."""
    status = record.outcome.status
    if status not in ("done", "diverged"):
        raise RecordError(
            f"the record is of an unfinished run: {status}",
            hint="finish that run first; its folder then holds the complete record",
        )


def check_recorded_means(record: Record) -> None:
    """Raise RecordError if an accuracy does not follow from its single networks."""
    evaluated = {
        (e.network, e.iteration, e.values): accuracy_of(e, "none")
        for e in record.evaluations
        if e.values
    }
    results = record.results
    accuracies = [results.accuracy, results.last, results.best_on_test, results.on_validation]
    for per_network in (results.per_network, *results.baselines.values()):
        accuracies += per_network.values()
    for stated in accuracies:
        if stated is None:
            continue
        computed = evaluated.get((stated.network, stated.iteration, stated.values))
        if not (
            computed is not None
            and computed.n == stated.n
            and equal_to_rounding(computed.mean, stated.mean)
            and equal_to_rounding(computed.std, stated.std)
        ):
            raise RecordError(
                f"the record contradicts itself: its single networks do not give "
                f"{stated.mean:.2f} +- {stated.std:.2f} % of {stated.network}",
                hint="nothing was run; check the run folder with ddspec verify",
            )


def check_comparable(compiled: CompiledSpec, record: Record) -> CompiledSpec:
    """Return the compiled spec with the record's routes, if its device is available.

    Raises RecordError if the images or the settings differ from those of the record.
    """
    fingerprint = compiled.plan.dataset.facts.fingerprint
    if fingerprint != record.dataset.fingerprint:
        raise RecordError(
            f"the images of dataset {compiled.loaded.spec.dataset.name!r} differ from those of "
            f"the record: fingerprint {fingerprint} here, {record.dataset.fingerprint} there",
            hint="nothing was run; give the folder with the record's images by --data",
        )
    if [step.id for step in compiled.plan.steps] != [step.id for step in record.plan.steps]:
        raise RecordError("the steps of the recorded plan are not those that its settings need")
    if compiled.plan.digest != record.plan.digest:
        changed = plan_differences(compiled.plan, record.plan)
        raise RecordError(
            "the settings in the record are not those of its plan: "
            f"{describe_differences(changed)}",
            hint="nothing was run; the numbers belong to another experiment",
        )
    return replace(compiled, plan=api.copy_routes(compiled.plan, record.plan))


def plan_differences(new: Plan, old: Plan) -> list[Difference]:
    """Return the keys in which two plans with the same steps differ."""

    def preimages(plan: Plan) -> dict[str, Preimage]:
        return plan.recipe_preimages | {step.digest: step.preimage for step in plan.steps}

    preimage_of = (preimages(old) | preimages(new)).get
    old_steps = {step.id: step for step in old.steps}
    changed: dict[str, Difference] = {}
    for step in new.steps:
        before = old_steps.get(step.id)
        if before is not None and step.preimage != before.preimage:
            for difference in differences(step.preimage, before.preimage, preimage_of):
                changed[difference.key] = difference
    for step in new.steps:
        old_extent = old_steps[step.id].extent if step.id in old_steps else {}
        for key, value in step.extent.items():
            old_value = old_extent.get(key, value)
            if old_value != value:
                changed[key] = Difference(key, old_value, value)
    if not changed:
        changed["choose"] = Difference("evaluation.choose", old.choose, new.choose)
    return list(changed.values())


def clear_finished(folder: Path, keep: Path | None) -> None:
    """Delete the store, the runs and the verdict of a finished reproduction.

    A reproduction that was stopped is not finished and continues instead. The store
    `keep`, which the caller wants to reuse, stays even if it lies in this folder.
    """
    store = folder / "store"
    if store.exists() and (keep is None or not resolved(keep).is_relative_to(resolved(store))):
        shutil.rmtree(store)
    if (folder / "runs").exists():
        shutil.rmtree(folder / "runs")
    (folder / REPRODUCTION_HTML).unlink(missing_ok=True)
    (folder / REPRODUCTION_JSON).unlink()
