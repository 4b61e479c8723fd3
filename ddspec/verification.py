"""Verification of a run: files, digests, artifacts and numbers, each against its origin."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ValidationError

from ddspec import api
from ddspec.dsl.diagnostics import DdspecError, RecordError, SpecError
from ddspec.dsl.facts.datasets import with_held_out
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing.loader import LoadedSpec, check_across_keys
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.agreement import compare_accuracies, differing_conditions
from ddspec.dsl.record.file_names import PLAN_JSON, REPORT_HTML, SYNTHETIC_H5
from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.results import accuracy_of, distilled_sets, mean_and_deviation
from ddspec.dsl.regular_file import check_regular_file, read_regular_file, sha256_of
from ddspec.dsl.terms import Device
from ddspec.engine.machine.environment import ddspec_version, environment
from ddspec.recorded_spec import load_recorded_spec
from ddspec.reports.embed import embedded_record, embedded_resolved_spec
from ddspec.reports.files import refuse_contradictions
from ddspec.reports.pages.run import read_images, read_record, run_html

if TYPE_CHECKING:
    from ddspec.engine.control import Control

FindingVerdict = Literal["ok", "fault", "not checked"]
MOST_NAMED = 5
"""Most differences that are listed one by one."""


@dataclass(frozen=True)
class Finding:
    """One check, and its result."""

    what: str
    verdict: FindingVerdict
    detail: str = ""


def verify(
    folder: Path,
    *,
    store: Path = api.DEFAULT_STORE,
    data: Path | None = None,
    device: Device | None = None,
    evaluate: bool = True,
    control: "Control | None" = None,
) -> Iterator[Finding]:
    """Yield the result of every check of a run folder, each part against its origin.

    Artifacts that are not in `store` are reported as not checked. With `evaluate`, networks are
    trained again on `synthetic.h5` alone. Raises RecordError if the record cannot be read.
    """
    record = read_record(folder)
    with refuse_contradictions("the record", "ddspec run with the same spec writes it again"):
        yield from check_files(folder, record)
        yield from check_page(folder, record)
        yield from check_plan_file(folder, record)
        loaded, finding = spec_of(record)
        yield finding
        if loaded is not None:
            yield check_digests(record, loaded)
        yield check_results(record, loaded)
        yield from check_artifacts(folder, record, store)
        if not evaluate:
            yield Finding("accuracy from synthetic.h5", "not checked", "not asked for")
        elif loaded is not None:
            yield from check_accuracy_again(folder, record, loaded, data, device, control)


def finding(what: str, faults: Iterator[str], fine: str = "") -> Finding:
    """Return a finding that lists the first faults."""
    named = list(islice(faults, MOST_NAMED + 1))
    if not named:
        return Finding(what, "ok", fine)
    more = "; and more" if len(named) > MOST_NAMED else ""
    return Finding(what, "fault", "; ".join(named[:MOST_NAMED]) + more)


def check_files(folder: Path, record: Record) -> Iterator[Finding]:
    """Check the files beside the record by its checksums."""
    if not record.files:
        yield Finding("files of the run folder", "not checked", "the record has no checksums")
    for name, expected in record.files.items():
        path = folder / name
        try:
            check_regular_file(path)
            if not path.resolve().is_relative_to(folder.resolve()):
                yield Finding(name, "fault", "the record names a file outside its folder")
            elif sha256_of(path) != expected:
                yield Finding(name, "fault", "it is not the file that the run wrote")
            else:
                yield Finding(name, "ok")
        except FileNotFoundError:
            yield Finding(name, "fault", "it is missing")
        except OSError as error:
            yield Finding(name, "fault", f"it cannot be read: {error.strerror}")


def check_page(folder: Path, record: Record) -> Iterator[Finding]:
    """Check that the record inside the page is the one beside it."""
    try:
        text = read_regular_file(folder / REPORT_HTML).decode()
        shown = embedded_record(text)
        faults = (f"record.json: {difference}" for difference in diff_paths(shown, record))
        yield finding(f"the record in {REPORT_HTML}", faults, "the record of record.json")
        if embedded_resolved_spec(text) != record.resolved:
            yield Finding(
                f"the resolved spec in {REPORT_HTML}", "fault", "it differs from that of the record"
            )
        yield words(text, run_html(record, read_images(folder, record)), record)
    except FileNotFoundError:
        yield Finding(REPORT_HTML, "not checked", "it is missing")
    except (RecordError, UnicodeDecodeError, OSError) as error:
        yield Finding(REPORT_HTML, "fault", str(error))


def words(text: str, drawn: str, record: Record) -> Finding:
    """Check the words and tables of a page, which ddspec makes from the record alone."""
    what = f"the text of {REPORT_HTML}"
    if record.environment.ddspec != ddspec_version():
        return Finding(what, "not checked", f"it was written by {record.environment.ddspec}")
    if "report_assets/" in text or without_drawings(text) == without_drawings(drawn):
        return Finding(what, "ok")
    detail = "it differs from what ddspec report makes of the record, or another build rendered it"
    return Finding(what, "fault", detail)


def without_drawings(page: str) -> str:
    """Return a page without figures and pictures, whose bytes depend on fonts and libraries."""
    for drawn in (DRAWING, NUMBERS, PICTURE):
        page = drawn.sub("", page)
    return page


DRAWING = re.compile(r'<svg class="chart".*?</svg>', re.DOTALL)
NUMBERS = re.compile(r'<script type="application/json" class="numbers">.*?</script>', re.DOTALL)
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]*")


def check_plan_file(folder: Path, record: Record) -> Iterator[Finding]:
    """Check that plan.json is the plan in the record."""
    try:
        plan = Plan.model_validate_json(read_regular_file(folder / PLAN_JSON))
    except FileNotFoundError:
        yield Finding("plan.json against the record", "not checked", "it is missing")
    except OSError as error:
        yield Finding("plan.json against the record", "fault", str(error.strerror))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        yield Finding("plan.json against the record", "fault", problem)
    else:
        yield finding("plan.json against the record", diff_paths(plan, record.plan))


def spec_of(record: Record) -> tuple[LoadedSpec | None, Finding]:
    """Load the resolved spec and check that the spec with its overrides gives it."""
    what = "spec, overrides and resolved spec"
    try:
        return load_recorded_spec(record), Finding(what, "ok")
    except DdspecError as error:
        return None, Finding(what, "fault", str(error))


def check_digests(record: Record, loaded: LoadedSpec) -> Finding:
    """Check every digest of the plan, computed again from the resolved spec."""
    plan, what = record.plan, "digests, from their preimages"
    machine, facts = Machine(plan.steps[0].route.device, 1), with_held_out(record.dataset)
    try:
        made = compile_spec(check_across_keys(loaded, facts).spec, facts, machine)
    except SpecError as error:
        return Finding(what, "fault", f"the spec does not fit its images: {error}")

    def faults() -> Iterator[str]:
        if made.digest != plan.digest:
            yield f"the plan's is {made.digest}, the record has {plan.digest}"
        planned = {step.id: step for step in plan.steps}
        for step in made.steps:
            if step.id not in planned:
                yield f"step {step.id} is not in the record"
                continue
            expected = bare(planned[step.id])
            yield from (
                f"step {step.id}: {difference}" for difference in diff_paths(expected, bare(step))
            )
        named = {step.id: step.digest for step in plan.steps}
        for done in record.steps:
            if named.get(done.id) != done.digest:
                yield f"the record of {done.id} has another digest than the plan"

    return finding(what, faults(), f"{len(plan.steps)} steps")


def bare(step: BaseModel) -> Any:
    """Return a step without its route and its estimate."""
    return step.model_dump(mode="json", exclude={"route", "processes", "estimate"})


def check_results(record: Record, loaded: LoadedSpec | None) -> Finding:
    """Check the results, computed again from single accuracies and the spec's expectations."""
    from ddspec.engine.run import results as scores

    expect = (
        loaded.spec.expect
        if loaded
        else tuple(comparison.expectation for comparison in record.compared)
    )

    def faults() -> Iterator[str]:
        recorded = record.results
        made = scores.collect_results(record.plan, record.evaluations, expect, recorded.expert)
        for difference in diff_paths(made, recorded):
            yield f"results.{difference}"
        if loaded is not None and loaded.spec.title != record.title:
            yield f"title is {record.title!r}, the spec's is {loaded.spec.title!r}"
        again = scores.compare_with_expectations(
            expect, distilled_sets(record.plan, record.evaluations)
        )
        yield from (
            f"compared{difference}" for difference in diff_paths(list(again), list(record.compared))
        )

    return finding("results, from the single accuracies", faults())


def check_artifacts(folder: Path, record: Record, root: Path) -> Iterator[Finding]:
    """Check every artifact in the store, and the record against their content."""
    from ddspec.engine.maintenance.integrity import inspect_artifacts
    from ddspec.engine.store.store import Store

    store, absent, sound = Store(root), [], 0
    damaged = False
    for inspected in inspect_artifacts(record.plan, store):
        if inspected.fault:
            damaged = True
            yield Finding(inspected.label, "fault", inspected.fault)
        elif inspected.present:
            sound += 1
        else:
            absent.append(inspected)
    if sound:
        yield Finding("artifacts in the store", "ok", f"{sound} complete, every checksum verified")
    if absent:
        steps = ", ".join(dict.fromkeys(inspected.step for inspected in absent))
        detail = f"{len(absent)} are not in this store ({steps})"
        yield Finding("artifacts in the store", "not checked", detail)
    elif not damaged:
        yield from check_artifact_numbers(folder, record, store)


def check_artifact_numbers(folder: Path, record: Record, store: Any) -> Iterator[Finding]:
    """Check the record's numbers against those in the artifacts."""
    from ddspec.engine.exchange.synthetic_file import read_synthetic_file
    from ddspec.engine.run import collect as harvest
    from ddspec.engine.run import results as scores

    plan = record.plan
    pairs: list[tuple[str, Any, Any]] = [
        ("evaluations", list(scores.collect_evaluations(plan, store)), list(record.evaluations)),
        ("series", harvest.collect_series(plan, store), record.series),
        ("experts", list(harvest.expert_records(plan, store)), list(record.experts)),
        ("storage", harvest.storage(plan, store), record.storage),
        ("expert", scores.expert_accuracy(plan, store), record.results.expert),
    ]
    for what, made, recorded in pairs:
        parts = (f"{what}{difference}" for difference in diff_paths(made, recorded))
        yield finding(f"{what} of the record, from the artifacts", parts)
    chosen = chosen_iteration(record)
    member = next((m for m in plan.distill.members if m.number == chosen), None)
    if member is None or not (folder / SYNTHETIC_H5).is_file():
        return

    def faults() -> Iterator[str]:
        held = read_synthetic_file(folder / SYNTHETIC_H5, plan)
        with store.open("synthetic", member.digest) as file:
            for name, array in held.items():
                if array.tobytes() != file[name][()].tobytes():
                    yield f"{name} are not those of the artifact"

    try:
        yield finding("synthetic.h5, from the artifact", faults())
    except DdspecError as error:
        yield Finding("synthetic.h5, from the artifact", "fault", str(error))


def chosen_iteration(record: Record) -> int:
    """Return the iteration of synthetic.h5."""
    if record.results.accuracy is not None:
        return record.results.accuracy.iteration
    return max((sheet.iteration for sheet in record.sheets), default=0)


def check_accuracy_again(
    folder: Path,
    record: Record,
    loaded: LoadedSpec,
    data: Path | None,
    device: Device | None,
    control: "Control | None",
) -> Iterator[Finding]:
    """Check the accuracies of networks trained again on synthetic.h5 alone."""
    what = "accuracy from synthetic.h5"
    if record.results.accuracy is None:
        yield Finding(what, "not checked", "no set of this run was evaluated")
        return
    from ddspec.engine.control import Control
    from ddspec.engine.exchange.synthetic_file import read_synthetic_file
    from ddspec.engine.run.reevaluate import reevaluate
    from ddspec.engine.store.store import Store
    from ddspec.reproduction import check_comparable

    iteration = record.results.accuracy.iteration
    with tempfile.TemporaryDirectory(prefix="ddspec-verify-") as temporary:
        root = Path(temporary)
        try:
            arrays = read_synthetic_file(folder / SYNTHETIC_H5, record.plan)
            compiled = api.compile(loaded, data=data, store=root, device=device)
            plan = check_comparable(compiled, record).plan
            networks = reevaluate(plan, iteration, arrays, Store(root), control or Control())
        except DdspecError as error:
            missing = isinstance(error, DdspecError) and not isinstance(error, RecordError)
            yield Finding(what, "not checked" if missing else "fault", str(error))
            return
    for network, trained in networks.items():
        values = tuple(evaluation.accuracy for evaluation in trained)
        recorded = [
            accuracy_of(evaluation, record.plan.choose)
            for evaluation in record.evaluations
            if (evaluation.subject, evaluation.network, evaluation.iteration)
            == ("distilled", network, iteration)
            and evaluation.values
        ]
        if recorded:
            yield against_record(f"{what}, {network}", record, plan, recorded[0], values)
        else:
            yield Finding(f"{what}, {network}", "fault", "the record has no such accuracy")


def against_record(
    what: str, record: Record, plan: Plan, recorded: Accuracy, values: tuple[float, ...]
) -> Finding:
    """Compare accuracies with the recorded ones: by bits, or else by a test."""
    mean, std = mean_and_deviation(values)
    again = recorded.model_copy(
        update={"values": values, "mean": mean, "std": std, "n": len(values)}
    )
    done = [step for step in plan.evaluations("distilled") if step.network_name == recorded.network]
    reasons = tuple(differing_conditions(record, environment(done[0].route.device), done))
    agreed = compare_accuracies(what, recorded, again, reasons)
    verdicts: dict[str, FindingVerdict] = {
        "PASS": "ok",
        "FAIL": "fault",
        "NOT COMPARABLE": "not checked",
    }
    sentences = [f"{mean:.2f} % now, {recorded.mean:.2f} % in the record: {agreed.reason}"]
    sentences += [
        f"{comparison.verdict} with {comparison.expectation.accuracy:g} % "
        f"of {comparison.expectation.source}"
        for comparison in record.compared
        if comparison.measured.values == recorded.values
        and comparison.measured.network == recorded.network
    ]
    return Finding(what, verdicts[agreed.verdict], "; ".join(sentences))


def diff_paths(first: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield the path to each difference between two values, with both values."""
    if isinstance(first, BaseModel):
        first = first.model_dump(mode="json")
    if isinstance(other, BaseModel):
        other = other.model_dump(mode="json")
    if isinstance(first, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*first, *other]):
            inner = f"{path}.{key}" if path else str(key)
            yield from diff_paths(first.get(key), other.get(key), inner)
    elif isinstance(first, list | tuple) and isinstance(other, list | tuple):
        if len(first) != len(other):
            yield f"{path} has {len(other)} entries, not {len(first)}"
            return
        for index, (left, right) in enumerate(zip(first, other, strict=True)):
            yield from diff_paths(left, right, f"{path}[{index}]")
    elif first != other and not (first != first and other != other):
        yield f"{path} is {other!r}, not {first!r}"
