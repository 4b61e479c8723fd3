"""The record against itself: what follows from its spec, its plan and its single accuracies."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from pydantic import BaseModel

from ddspec import api
from ddspec.dsl.diagnostics import DdspecError, RecordError, SpecError
from ddspec.dsl.facts.datasets import KNOWN, with_held_out
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.facts.network_sizes import FittedNetwork, NetworkSize
from ddspec.dsl.keys.extension import ExtensionNetwork
from ddspec.dsl.parsing.loader import LoadedSpec, check_across_keys, parse_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.steps import DistillStep, EvaluateStep, Plan
from ddspec.dsl.record.deviations import deviations
from ddspec.dsl.record.file_names import RESOLVED_TOML, SPEC_TOML
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.results import distilled_sets
from ddspec.dsl.record.warning_signs import warning_signs
from ddspec.dsl.spec.network import LibraryNetwork
from ddspec.dsl.spec.synthetic import Imported, ProbabilityLabels, Representative
from ddspec.dsl.terms import NetworkName
from ddspec.recorded_spec import load_recorded_spec, options_of_user, written_spec
from ddspec.reports.files import refuse_contradictions
from ddspec.verification.files import check_names
from ddspec.verification.finding import (
    Finding,
    diff_paths,
    finding,
    in_words_of_its_version,
    not_checked_if,
)


def spec_of(record: Record) -> tuple[LoadedSpec | None, Finding]:
    """Load the resolved spec and check that the spec with its overrides gives it."""
    what = "spec, overrides and resolved spec"
    try:
        return load_recorded_spec(record), Finding(what, "ok")
    except SpecError as error:
        problems = "; ".join(diagnostic.message for diagnostic in error.diagnostics)
        return None, Finding(what, "not checked" if error.lacks_extension else "fault", problems)
    except DdspecError as error:
        return None, Finding(what, "fault", str(error))


def check_record(record: Record, loaded: LoadedSpec | None) -> Iterator[Finding]:
    """Check everything in a record that follows from other parts of it."""
    if loaded is None:
        what = "plan, names, deviations and text of the resolved spec"
        yield Finding(what, "not checked", "the spec in the record could not be loaded")
    else:
        yield check_plan(record, loaded)
        yield from check_preview(record)
        yield from check_options(record)
    yield check_results(record, loaded)
    yield from check_step_costs(record)
    yield from check_statements(record, loaded)


def check_statements(record: Record, loaded: LoadedSpec | None) -> Iterator[Finding]:
    """Check what a record states besides its plan and its numbers."""
    if loaded is not None:
        yield finding("names, title and dataset", name_faults(record, loaded))
        made = list(deviations(loaded.spec))
        differences = (f"deviations{d}" for d in diff_paths(made, list(record.deviations)))
        yield in_words_of_its_version(record, finding("deviations from the papers", differences))
        yield check_departures(record)
        yield check_resolved_text(record)
    yield check_classes(record)
    yield finding("steps of the record, from the plan", step_faults(record))
    if record.imported_set is not None or isinstance(record.plan.distill.synthetic.init, Imported):
        yield check_imported_set(record)
    yield check_notes(record)
    yield check_warnings(record)
    yield check_sheets(record)
    yield finding("how the run ended", outcome_faults(record))


def check_departures(record: Record) -> Finding:
    """Check the settings in which the run departs from its spec of published numbers."""
    made = [] if record.plan.preview else list(api.departures_of(written_spec(record)))
    differences = (f"departures{d}" for d in diff_paths(made, list(record.departures)))
    return in_words_of_its_version(record, finding("departures from the spec", differences))


def refuse_false_statements(record: Record, loaded: LoadedSpec) -> None:
    """Raise RecordError if a record states what does not follow from its spec and its plan."""
    with refuse_contradictions("the record", "ddspec verify finds the fault"):
        findings = [check_names(record), *check_statements(record, loaded)]
    for found in findings:
        if found.verdict == "fault":
            raise RecordError(
                f"the record contradicts itself: {found.what}: {found.detail}",
                hint="nothing was run; check the run folder with ddspec verify",
            )


def recorded_networks(plan: Plan) -> dict[NetworkName, FittedNetwork]:
    """Return the networks of libraries and extensions as a plan fits them.

    Their sizes change no digest.
    """
    size = NetworkSize(plan.network_parameters, 0, 0, 0, 0, 0)
    nets = [step.network for step in plan.steps if isinstance(step, EvaluateStep | DistillStep)]
    return {
        net.name: FittedNetwork(net, size)
        for net in nets
        if isinstance(net, LibraryNetwork | ExtensionNetwork)
    }


def check_plan(record: Record, loaded: LoadedSpec) -> Finding:
    """Check the plan with every digest, compiled again from the resolved spec."""
    plan, what = record.plan, "digests, from their preimages"
    machine, facts = Machine(plan.steps[0].route.device, 1), with_held_out(record.dataset)
    try:
        spec = check_across_keys(loaded, facts).spec
        made = compile_spec(spec, facts, machine, recorded_networks(plan))
    except SpecError as error:
        return Finding(what, "fault", f"the spec does not fit its images: {error}")

    def faults() -> Iterator[str]:
        if made.digest != plan.digest:
            yield f"the plan's is {made.digest}, the record has {plan.digest}"
        yield from diff_paths(heading(made), heading(plan), "plan")
        planned = {step.id: step for step in plan.steps}
        for step in made.steps:
            if step.id not in planned:
                yield f"step {step.id} is not in the record"
                continue
            recorded = bare(planned[step.id])
            yield from (
                f"step {step.id}: {difference}" for difference in diff_paths(bare(step), recorded)
            )
        named = {step.id: step.digest for step in plan.steps}
        for done in record.steps:
            if named.get(done.id) != done.digest:
                yield f"the record of {done.id} has another digest than the plan"

    return finding(what, faults(), f"{len(plan.steps)} steps")


def bare(step: BaseModel) -> Any:
    """Return a step without its route and its estimate, which depend on the machine."""
    return step.model_dump(mode="json", exclude={"route", "processes", "estimate"})


def heading(plan: Plan) -> Any:
    """Return what a plan says outside of its steps, and their order."""
    kept = plan.model_dump(mode="json", exclude={"steps", "digest", "measured_rates"})
    return kept | {"steps": [step.id for step in plan.steps]}


def name_faults(record: Record, loaded: LoadedSpec) -> Iterator[str]:
    """Yield names of a record that are not those of its spec, and facts that are not the plan's."""
    for what, made, recorded in (
        ("name", loaded.spec.name, record.name),
        ("title", loaded.spec.title, record.title),
        ("name of the plan", loaded.spec.name, record.plan.name),
        ("title of the plan", loaded.spec.title, record.plan.title),
    ):
        if made != recorded:
            yield f"{what} is {recorded!r}, the spec's is {made!r}"
    yield from diff_paths(record.plan.dataset.facts, record.dataset, "dataset")


def check_classes(record: Record) -> Finding:
    """Check the facts of the dataset that are known without its images."""
    what, facts = "class names and counts, as they are known", record.dataset
    dataset = record.plan.dataset.dataset
    known = KNOWN.get(dataset.name)
    if known is None:
        return Finding(what, "not checked", f"those of {dataset.name} are in its images alone")

    def faults() -> Iterator[str]:
        order = [n for n in dataset.classes or known.class_names if n in known.class_names]
        missing = set(facts.class_names) - set(known.class_names)
        if missing or list(facts.class_names) != [n for n in order if n in facts.class_names]:
            yield f"class_names are {facts.class_names!r}"
            return
        whole = with_held_out(facts)
        for split in ("train", "test"):
            counts = zip(facts.class_names, getattr(whole, f"{split}_per_class"), strict=False)
            for name, count in counts:
                most = getattr(known, f"{split}_per_class")[known.class_names.index(name)]
                if count > most:
                    yield f"{split}_per_class of {name!r} is {count}, of {most} that there are"

    return finding(what, faults(), "counts are at most those of the whole dataset")


def check_resolved_text(record: Record) -> Finding:
    """Check that the resolved spec is written as ddspec writes it."""
    written = api.resolved_toml(parse_spec(record.resolved, RESOLVED_TOML))
    faults = ["it is not as ddspec writes it"] if written != record.resolved else []
    return in_words_of_its_version(record, finding("the text of the resolved spec", faults))


def check_preview(record: Record) -> Iterator[Finding]:
    """Say that the sizes of a preview are not made again."""
    if record.plan.preview:
        reason = "they depend on the speed of the machine that made it"
        yield Finding("the sizes of the preview", "not checked", reason)


MOST_OPTIONS = 50
"""Most overrides of which each is tried without."""


def check_options(record: Record) -> Iterator[Finding]:
    """Name the overrides that change nothing, which anybody could have added."""
    options = options_of_user(record)

    def idle() -> Iterator[str]:
        for index, option in enumerate(options[:MOST_OPTIONS]):
            others = [o.removeprefix("--set ") for o in (*options[:index], *options[index + 1 :])]
            try:
                without = api.resolved_toml(parse_spec(record.spec, SPEC_TOML, others))
            except SpecError:
                continue  # The spec needs it.
            if without == record.resolved:
                yield option
        yield from options[MOST_OPTIONS:]

    if record.swept or record.plan.preview:
        if options:
            yield Finding(
                "overrides one by one", "not checked", "the spec is not of this run alone"
            )
        return
    named = list(islice(idle(), MOST_OPTIONS))
    if named:
        yield Finding("overrides that change nothing", "not checked", ", ".join(named)[:500])


def step_faults(record: Record) -> Iterator[str]:
    """Yield what the steps of a record say otherwise than those of its plan."""
    from ddspec.engine.run.collect import complete_status
    from ddspec.engine.store.artifacts import artifact_names

    planned = [step.id for step in record.plan.steps]
    recorded = [step.id for step in record.steps]
    if planned != recorded:
        yield f"steps are {recorded}, those of the plan {planned}"
        return
    for step, done in zip(record.plan.steps, record.steps, strict=True):
        members = len(list(artifact_names(step)))
        for key in ("kind", "route", "processes", "estimate"):
            yield from diff_paths(getattr(step, key), getattr(done, key), f"{step.id}.{key}")
        yield from diff_paths(members, done.members, f"{step.id}.members")
        status = complete_status(done.computed, done.members)
        if record.outcome.status == "done" and done.status != status:
            yield f"{step.id}.status is {done.status!r}, not {status!r}"


def check_step_costs(record: Record) -> Iterator[Finding]:
    """Check what the run computed of each step, added up over its sittings."""
    totals = {step.id: sitting_totals(record, step.id) for step in record.steps}
    pairs = [
        (f"{step.id}.{key}", total, getattr(step, key))
        for step in record.steps
        for key, total in totals[step.id].items()
    ]

    def faults() -> Iterator[str]:
        for what, total, recorded in pairs:
            yield from diff_paths(total, recorded, what)
        if record.sittings and record.sittings[-1].environment != record.environment:
            yield "the environment is not that of the last sitting"

    found = finding("steps of the record, from its sittings", faults())
    more = all(recorded >= total for _, total, recorded in pairs)
    yield not_checked_if(more, found, "sittings of ddspec 0.1.0 are not recorded")
    if record.outcome.status != "done":
        yield Finding("status of each step", "not checked", "the run did not end as planned")


def sitting_totals(record: Record, step: str) -> dict[str, float]:
    """Return the costs of a step, added up over the sittings in their order."""
    costs = [sitting.steps[step] for sitting in record.sittings if step in sitting.steps]
    seconds = 0.0
    for cost in costs:
        seconds += cost.seconds  # The built-in sum rounds otherwise.
    return {
        "computed": sum(cost.computed for cost in costs),
        "seconds": seconds,
        "memory_bytes": max((cost.memory_bytes for cost in costs), default=0),
    }


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
        for difference in diff_paths(made, recorded, but_rounding=True):
            yield f"results.{difference}"
        again = scores.compare_with_expectations(
            expect, distilled_sets(record.plan, record.evaluations)
        )
        yield from (
            f"compared{difference}"
            for difference in diff_paths(list(again), list(record.compared), but_rounding=True)
        )

    return finding("results, from the single accuracies", faults())


def check_imported_set(record: Record) -> Finding:
    """Check that the imported set of the record is the one that the plan begins from."""
    from ddspec.engine.store.imported_set import named_set

    init, described = record.plan.distill.synthetic.init, record.imported_set
    planned = init.set if isinstance(init, Imported) else None
    recorded = None if described is None else described.name
    made = None if described is None else named_set(described.model_dump(mode="json")).name

    def faults() -> Iterator[str]:
        if not planned == recorded == made:
            yield (
                f"the plan begins from set {planned}, the record names {recorded} and describes "
                f"{made}"
            )

    return finding("imported set, by its name", faults())


def check_notes(record: Record) -> Finding:
    """Check the notes, written again from the plan, the series and the evaluations."""
    from ddspec.engine.run.reader_notes import reader_notes

    made = list(reader_notes(record.plan, record.series, record.evaluations))
    differences = (f"notes{d}" for d in diff_paths(made, list(record.notes)))
    return in_words_of_its_version(record, finding("notes", differences))


def check_warnings(record: Record) -> Finding:
    """Check the warning signs, read again from the numbers of the record."""
    made = list(warning_signs(record.plan, record.results, record.series, record.extremes))
    differences = (f"warnings{d}" for d in diff_paths(made, list(record.warnings)))
    return in_words_of_its_version(record, finding("warnings", differences))


def check_sheets(record: Record) -> Finding:
    """Check which pictures the record names, and the form of soft labels and clusters."""
    from ddspec.engine.run.run_folder import expected_sheets

    step, done = record.plan.distill, record.outcome.status == "done"
    sets = [member.number for member in step.members]
    has_probabilities = isinstance(step.synthetic.labels, ProbabilityLabels)

    def faults() -> Iterator[str]:
        made = list(expected_sheets(record.plan, record.results, sets))
        yield from (f"sheets{d}" for d in diff_paths(made, list(record.sheets)))
        if record.soft_labels is not None and not has_probabilities:
            yield "soft_labels are of labels that are not probabilities"
        if record.soft_labels is None and has_probabilities:
            yield "soft_labels are missing"
        if record.clusters and not isinstance(step.synthetic.init, Representative):
            yield "clusters are of an initial set without any"
        if not record.clusters and isinstance(step.synthetic.init, Representative):
            yield "clusters are missing"

    found = in_words_of_its_version(record, finding("pictures that the record names", faults()))
    return not_checked_if(not done, found, "a run that did not end as planned has not all of them")


def outcome_faults(record: Record) -> Iterator[str]:
    """Yield what a record says of its end against its own numbers."""
    outcome, plan = record.outcome, record.plan
    if outcome.status == "done":
        if outcome.iteration is not None or outcome.cause or outcome.advice:
            yield "a run that is done has neither a cause nor an iteration of its end"
        planned, recorded = plan.distill.matching.iterations, len(record.series.matching_loss)
        if planned != recorded:
            yield f"the series have {recorded} of {planned} iterations"
        evaluated = {(e.subject, e.network, e.iteration) for e in record.evaluations}
        steps = [step for step in plan.steps if step.kind == "evaluate"]
        expected = {(s.subject, s.network_name, m.number) for s in steps for m in s.members}
        if expected - evaluated:
            yield f"{len(expected - evaluated)} evaluations are missing"
