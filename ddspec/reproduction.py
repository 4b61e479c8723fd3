"""Do a run again from what somebody shared, in a store of its own, and compare every number."""

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tomli
from pydantic import ValidationError

from ddspec import api
from ddspec.api import CompiledSpec
from ddspec.dsl.diagnostics import RecordError, SpecError
from ddspec.dsl.digest import Difference, Preimage, differences, digest, flat_differences
from ddspec.dsl.parsing.loader import LoadedSpec, load_spec, parse_spec
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.agreement import against_published, compared, leave
from ddspec.dsl.record.record import Record, accuracy_of
from ddspec.dsl.record.reproduction import REPRODUCTION_JSON, Origin, Reproduction, overall
from ddspec.dsl.terms import LANGUAGE, Device
from ddspec.reports.embed import embedded_record, embedded_resolved, first_fault
from ddspec.reports.pages.reproduction import REPRODUCTION_PAGE

if TYPE_CHECKING:
    from ddspec.engine.control import Control

MOST_BYTES = 500_000_000
"""Of a record or a page; a run of 100,000 iterations has 30 MB."""


@dataclass(frozen=True)
class Shared:
    """What somebody shared: a record, in whatever form, or a spec that names published numbers."""

    origin: Origin
    loaded: LoadedSpec
    record: Record | None


@dataclass(frozen=True)
class Outcome:
    """A run that was done again."""

    folder: Path
    """Holds the verdict as JSON and as a page, the run, and the store it was made in."""
    reproduction: Reproduction

    @property
    def page(self) -> Path:
        """Both side by side."""
        return self.folder / "reproduction.html"


def read_shared(source: Path) -> Shared:
    """A record.json, a report.html alone, or a spec with [[expect]].

    Raises RecordError where it is damaged, or says one thing in one place and another elsewhere;
    SpecError where a spec is at fault.
    """
    if source.suffix == ".toml":
        loaded = load_spec(source)
        if not loaded.spec.expect:
            raise RecordError(
                f"{source} names no published number to compare with",
                hint="[[expect]] tables do; a record.json or a report.html holds what was measured",
            )
        return Shared("spec", loaded, None)
    text = text_of(source)
    if source.suffix in (".html", ".htm"):
        record = embedded_record(text)
        same(
            record.resolved, embedded_resolved(text), "the resolved spec in the page", "its record"
        )
        return Shared("report", loaded_from(record), record)
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        problem = f"{source} is damaged or no record: {first_fault(error)}"
        raise RecordError(problem, hint="name a record.json, a report.html or a spec") from None
    return Shared("record", loaded_from(record), record)


def text_of(source: Path) -> str:
    """The text of a shared file, if it is one and no larger than such files are."""
    try:
        if source.is_dir():
            raise RecordError(f"{source} is a folder", hint=f"name {source / 'record.json'}")
        if source.stat().st_size > MOST_BYTES:
            raise RecordError(f"{source} is larger than {MOST_BYTES // 10**6} MB")
        return source.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{source} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecordError(f"{source} is no text in UTF-8") from None


def loaded_from(record: Record) -> LoadedSpec:
    """The resolved spec of a record, after seeing that it is the one whose numbers it holds.

    Raises RecordError where the spec as written, the resolved spec and the plan disagree.
    """
    if record.plan.language != LANGUAGE:
        raise RecordError(
            f"the record is of language {record.plan.language}; this ddspec runs {LANGUAGE}",
            hint="use a ddspec of that version",
        )
    try:
        loaded = parse_spec(record.resolved, "resolved.toml")
        if not record.plan.preview and not record.swept:
            options = [option.removeprefix("--set ") for option in record.overrides]
            written = api.resolved_toml(parse_spec(record.spec, "spec.toml", options))
            same(record.resolved, written, "the spec in the record", "its resolved spec")
    except SpecError as error:
        raise RecordError(f"the record holds a spec that is at fault:\n{error}") from None
    return loaded


def same(recorded: str, found: str, what: str, of: str) -> None:
    """Raise RecordError with every key in which two resolved specs differ."""
    if recorded == found:
        return
    try:
        changed = list(
            flat_differences({"settings": tomli.loads(found)}, {"settings": tomli.loads(recorded)})
        )
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise RecordError(f"{what} is no TOML: {error}") from None
    if changed:
        raise RecordError(
            f"{what} is not that of {of}: {in_words(changed)}",
            hint="the numbers are of another experiment; run the spec itself to see what it gives",
        )


def in_words(changed: list[Difference]) -> str:
    """Keys with both values."""
    said = [f"{one.key} {shown(one.old)} -> {shown(one.new)}" for one in changed]
    return ", ".join(said)


def shown(value: object) -> str:
    """A value, or that there is none."""
    return "(default)" if value is None else str(value)


Watching = Callable[[Path], "AbstractContextManager[Control]"]
"""Gives the control of the run in that folder for as long as it lasts."""


def reproduce(
    source: Path,
    *,
    data: Path | None = None,
    store: Path | None = None,
    to: Path = api.DEFAULT_REPRODUCTIONS,
    device: Device | None = None,
    watching: Watching | None = None,
) -> Outcome:
    """Run what was shared again and compare.

    In a fresh store within `to`, unless `store` names one, whose artifacts are then reused. Raises
    RecordError, before anything runs, where the numbers could not be compared: other images,
    another language version, settings that are not those of the numbers.
    """
    from ddspec.engine.control import Control
    from ddspec.engine.machine.environment import environment

    shared = read_shared(source)
    if shared.record is not None:
        own_means(shared.record)
    if shared.record is not None and shared.record.outcome.status not in ("done", "diverged"):
        status = shared.record.outcome.status
        raise RecordError(
            f"the record is of a run that did not come to its end: {status}",
            hint="finish that run first; its folder then holds a record of the whole",
        )
    name = shared.record.plan.folder if shared.record else shared.loaded.spec.name
    folder = to / name
    finished_before = (folder / REPRODUCTION_JSON).exists()
    compiled = api.compile(shared.loaded, data=data, store=store or folder / "store", device=device)
    if shared.record is not None:
        compiled = comparable(compiled, shared.record)
    if finished_before:
        begin_anew(folder, keep=store)
        # The images were read into the store that is gone; compiling reads them into the new one.
        api.compile(compiled.loaded, data=data, store=compiled.store, device=device)
    run_folder = folder / "runs" / compiled.plan.folder
    if watching is None:
        run = api.run(compiled, runs=folder / "runs", control=Control())
    else:
        with watching(run_folder) as control:
            run = api.run(compiled, runs=folder / "runs", control=control)
    reasons = () if shared.record is None else tuple(leave(shared.record, run.record))
    reused = tuple(
        step.id
        for step in run.record.steps
        if store is not None and step.kind != "dataset" and step.status != "computed"
    )
    numbers = (
        tuple(against_published(run.record, shared.loaded.spec.expect))
        if shared.record is None
        else tuple(compared(shared.record, run.record, reasons))
    )
    # A paper's number is held against what was measured, whenever that was.
    made = {"distill", *(step.id for step in run.record.plan.evaluations("distilled"))}
    nothing_new = shared.record is not None and not made.isdisjoint(reused)
    found = Reproduction(
        origin=shared.origin,
        name=run.record.name,
        title=run.record.title,
        digest=run.record.plan.digest,
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        verdict="NOT COMPARABLE" if nothing_new else overall(numbers),
        numbers=numbers,
        may_differ=reasons,
        reused=reused,
        recorded_in=shared.record.environment if shared.record else None,
        found_in=environment(run.record.plan.steps[0].route.device),
        folder=run.folder.name,
    )
    return written(folder, found)


def own_means(record: Record) -> None:
    """Raise RecordError where an accuracy of the results is not that of the single networks."""
    evaluated = {
        (one.network, one.iteration, one.values): accuracy_of(one, "none")
        for one in record.evaluations
        if one.values
    }
    results = record.results
    named = [results.accuracy, results.last, results.best_on_test, results.on_validation]
    for accuracies in (results.per_network, results.random_real, results.full_data):
        named += accuracies.values()
    named += results.random_real_expert_labels.values()
    for one in named:
        if one is None:
            continue
        own = evaluated.get((one.network, one.iteration, one.values))
        if own is None or (own.mean, own.std, own.n) != (one.mean, one.std, one.n):
            raise RecordError(
                f"the record contradicts itself: {one.mean:.2f} +- {one.std:.2f} % of "
                f"{one.network} is not what its single networks give",
                hint="nothing was run; ddspec verify says more of a run folder",
            )


def begin_anew(folder: Path, keep: Path | None) -> None:
    """Empty the folder of a reproduction that came to its end; one that was stopped goes on.

    A store that was named to be reused is kept, also where it is the one in this folder.
    """
    own = folder / "store"
    if own.exists() and (keep is None or not keep.resolve().is_relative_to(own.resolve())):
        shutil.rmtree(own)
    if (folder / "runs").exists():
        shutil.rmtree(folder / "runs")
    (folder / REPRODUCTION_PAGE).unlink(missing_ok=True)
    (folder / REPRODUCTION_JSON).unlink()


def written(folder: Path, found: Reproduction) -> Outcome:
    """The verdict as JSON and as a page."""
    from ddspec.engine.store.store import write_text
    from ddspec.reports.pages.reproduction import render_reproduction

    # The page first: the document is what says that the reproduction came to its end.
    render_reproduction(folder, found)
    write_text(folder / REPRODUCTION_JSON, found.model_dump_json(indent=1))
    return Outcome(folder, found)


def comparable(compiled: CompiledSpec, record: Record) -> CompiledSpec:
    """The plan on the record's routes, where its device is here.

    Raises RecordError where images or settings are not those of the record.
    """
    here = compiled.plan.step("dataset").facts.fingerprint
    if here != record.dataset.fingerprint:
        raise RecordError(
            f"the images of {compiled.loaded.spec.dataset.name} are not those of the record: "
            f"fingerprint {here} here, {record.dataset.fingerprint} there",
            hint="nothing was run; --data says where the images of the record lie",
        )
    if [step.id for step in compiled.plan.steps] != [step.id for step in record.plan.steps]:
        raise RecordError("the plan in the record has other steps than its settings ask for")
    if compiled.plan.digest != record.plan.digest:
        changed = plan_differences(compiled.plan, record.plan)
        raise RecordError(
            f"the settings in the record are not those of its plan: {in_words(changed)}",
            hint="nothing was run; the numbers are of another experiment",
        )
    return replace(compiled, plan=api.on_routes_of(compiled.plan, record.plan))


def plan_differences(new: Plan, old: Plan) -> list[Difference]:
    """Keys in which two plans differ."""

    def known(plan: Plan) -> dict[str, Preimage]:
        recipe = plan.trajectories.recipe.preimage
        return {digest(recipe): recipe} | {step.digest: step.preimage for step in plan.steps}

    everything = known(old) | known(new)
    before = {step.id: step.preimage for step in old.steps}
    found: dict[str, Difference] = {}
    for step in new.steps:
        if step.id in before and step.preimage != before[step.id]:
            for one in differences(step.preimage, before[step.id], everything.get):
                found[one.key] = one
    extents = {step.id: step.extent for step in old.steps}
    for step in new.steps:
        for key, value in step.extent.items():
            old_value = extents.get(step.id, {}).get(key, value)
            if old_value != value:
                found[key] = Difference(key, old_value, value)
    if not found:
        found["choose"] = Difference("evaluation.choose", old.choose, new.choose)
    return list(found.values())
