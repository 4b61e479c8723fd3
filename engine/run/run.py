"""A run from plan to record: what exists, what is left to do, and the results.

torch is imported only if something is left to do, so that a run that reuses everything is quick.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from ddspec.dsl.diagnostics import DdspecError
from ddspec.dsl.facts.reading import DataReading
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.deviations import Departure, Deviation
from ddspec.dsl.record.file_names import RECORD_JSON, REPORT_HTML
from ddspec.dsl.record.record import Outcome, Record
from ddspec.dsl.record.results import distilled_sets
from ddspec.dsl.record.warning_signs import warning_signs
from ddspec.dsl.regular_file import read_regular_file
from ddspec.dsl.spec.evaluation import Expectation
from ddspec.engine.control import Control, ExecutionResult, Interrupted
from ddspec.engine.machine.environment import environment
from ddspec.engine.run import collect as harvest
from ddspec.engine.run import results as scores
from ddspec.engine.run import set_summary as summaries
from ddspec.engine.run.reader_notes import reader_notes
from ddspec.engine.run.run_folder import file_checksums, write_images
from ddspec.engine.run.status import StepState, step_states
from ddspec.engine.store.array_shapes import check_plan
from ddspec.engine.store.store import Store


@dataclass(frozen=True)
class SpecOrigin:
    """The texts of a record from which it can be run again."""

    spec: str
    swept: bool
    overrides: tuple[str, ...]
    resolved: str
    expect: tuple[Expectation, ...]
    deviations: tuple[Deviation, ...]
    departures: tuple[Departure, ...]
    reading: DataReading
    """From which files the images were read."""


def run_plan(
    plan: Plan, origin: SpecOrigin, store: Store, folder: Path, control: Control, retry: bool
) -> tuple[Record, Exception | None]:
    """Complete a run; return its record, and the error to raise after it is written.

    A divergence is an outcome that the store remembers; `retry` tries it again. A signal or a
    failure of the machine is recorded too, and the store keeps everything done so far. If
    artifacts that the record needs are damaged, StoreError is raised and there is no record.

    If the folder has a record of the same plan that this call continues, its costs are kept.
    """
    check_plan(plan, store)
    before, earlier = step_states(plan, store), earlier_record(folder, plan)
    if earlier is not None and not continues(earlier, before):
        earlier = None
    done = finish(plan, before, store, control, retry)
    try:
        return build_record(plan, origin, store, folder, before, done, earlier), done.error
    except DdspecError:
        if done.error is not None:
            raise done.error from None
        raise


def earlier_record(folder: Path, plan: Plan) -> Record | None:
    """Return the record that an earlier call left of the same plan, if it can be read."""
    try:
        record = Record.model_validate_json(read_regular_file(folder / RECORD_JSON))
    except (OSError, ValidationError):
        return None
    return record if record.plan.digest == plan.digest else None


def continues(earlier: Record, before: list[StepState]) -> bool:
    """Return whether this call continues the run of an earlier record.

    Otherwise artifacts that it had made are missing, as with another store, and are made again.
    """
    computed = {step.id: step.computed for step in earlier.steps}
    for state in before:
        begun = sum(artifact.have > 0 for artifact in state.artifacts)
        expected = len(state.artifacts) if earlier.outcome.status == "done" else 0
        if begun < max(expected, min(computed.get(state.step.id, 0), len(state.artifacts))):
            return False
    return True


def is_finished(
    earlier: Record, plan: Plan, origin: SpecOrigin, store: Store, folder: Path
) -> bool:
    """Return whether an earlier call finished this very run, and its files are still as written.

    Raises StoreError if an artifact is damaged.
    """
    texts = SpecOrigin(
        spec=earlier.spec,
        swept=earlier.swept,
        overrides=earlier.overrides,
        resolved=earlier.resolved,
        expect=origin.expect,
        deviations=earlier.deviations,
        departures=earlier.departures,
        # Other files that hold the same images make no other run.
        reading=origin.reading,
    )
    return (
        earlier.outcome.status == "done"
        and texts == origin
        and (folder / REPORT_HTML).is_file()
        and file_checksums(folder, earlier.sheets) == earlier.files
        and not any(state.missing for state in step_states(plan, store))
    )


def finish(
    plan: Plan, before: list[StepState], store: Store, control: Control, retry: bool
) -> ExecutionResult:
    """Execute the steps that are not complete."""
    if not any(state.missing for state in before):
        return ExecutionResult(Outcome(status="done"), {}, None)
    from ddspec.engine.run.execute import execute_plan

    with control.listening():
        done = execute_plan(plan, store, control, retry)
    if isinstance(done.error, Interrupted) and not any(s.missing for s in step_states(plan, store)):
        # The signal came too late.
        return replace(done, outcome=Outcome(status="done"), stopped=None, error=None)
    return done


def build_record(
    plan: Plan,
    origin: SpecOrigin,
    store: Store,
    folder: Path,
    before: list[StepState],
    done: ExecutionResult,
    earlier: Record | None,
) -> Record:
    """Return the record of a run; write images and synthetic set into its folder."""
    evaluations = scores.collect_evaluations(plan, store)
    series = harvest.collect_series(plan, store)
    results = scores.collect_results(
        plan, evaluations, origin.expect, scores.expert_accuracy(plan, store)
    )
    extremes = summaries.set_extremes(plan, store, results)
    sheets, device = write_images(plan, results, store, folder), plan.steps[0].route.device
    return Record(
        name=plan.name,
        title=plan.title,
        date=earlier.date if earlier and not done.costs else harvest.utc_now(),
        outcome=done.outcome,
        results=results,
        compared=scores.compare_with_expectations(origin.expect, distilled_sets(plan, evaluations)),
        dataset=plan.dataset.facts,
        reading=origin.reading,
        steps=harvest.step_records(before, store, done, earlier),
        sittings=harvest.sittings(before, store, done, earlier, device),
        experts=harvest.expert_records(plan, store),
        series=series,
        evaluations=evaluations,
        storage=harvest.storage(plan, store),
        sheets=sheets,
        soft_labels=summaries.soft_labels(plan, store, results),
        extremes=extremes,
        class_losses=summaries.class_losses(plan, store, results),
        imported_set=summaries.imported_set(plan, store),
        clusters=summaries.clusters(plan, store),
        deviations=origin.deviations,
        departures=origin.departures,
        notes=reader_notes(plan, series, evaluations),
        warnings=warning_signs(plan, results, series, extremes),
        environment=earlier.environment if earlier and not done.costs else environment(device),
        spec=origin.spec,
        swept=origin.swept,
        overrides=origin.overrides,
        resolved=origin.resolved,
        plan=plan,
        files=file_checksums(folder, sheets),
    )
