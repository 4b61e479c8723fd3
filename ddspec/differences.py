"""What differs between two experiments: settings by resolved value, steps of the plan, results.

An experiment is a spec or a finished run. Plans are compared by digests without reading an image:
a spec is planned with the images of the run that it is compared with, if both ask for the same, or
else with the known facts of its dataset under a fingerprint that only this dataset has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.digest import Preimage, differences, digest
from ddspec.dsl.facts.datasets import DatasetFacts, known_facts, with_held_out
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing.departures import settings
from ddspec.dsl.parsing.loader import (
    LoadedSpec,
    check_across_keys,
    load_spec_or_sweep,
    only_spec,
)
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.steps import Plan, Step
from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.statistics import Welch, welch
from ddspec.dsl.spec.experiment import Spec, resolved
from ddspec.foreign_code import networks_of_others
from ddspec.recorded_spec import described_spec
from ddspec.reports.files import refuse_contradictions
from ddspec.reports.pages.compared_runs import is_part
from ddspec.reports.tables.judging import differing_conditions


@dataclass(frozen=True)
class Experiment:
    """A spec, or a run with its record."""

    name: str
    """The path by which it was given."""
    loaded: LoadedSpec
    record: Record | None = None

    @property
    def spec(self) -> Spec:
        """The spec with every default."""
        return self.loaded.spec


@dataclass(frozen=True)
class SettingDifference:
    """A key with its two resolved values; None where a spec does not have the key."""

    key: str
    first: Any
    second: Any


StepState = Literal["shared", "shared in part", "differs", "only in A", "only in B"]


@dataclass(frozen=True)
class StepDifference:
    """A step of either plan."""

    id: str
    first: str | None
    """Its digest in the first plan; None if that has no such step."""
    second: str | None
    state: StepState
    keys: tuple[str, ...] = ()
    """The keys of the spec because of which it is not the same."""


@dataclass(frozen=True)
class AccuracyDifference:
    """The results of two runs on one network; None if a run was not tested on it."""

    network: str
    first: Accuracy | None
    second: Accuracy | None
    test: Welch | None
    """Of the second minus the first; None if they cannot be tested, or are not judged alike."""


@dataclass(frozen=True)
class ExperimentDifferences:
    """All differences between two experiments."""

    first: Experiment
    second: Experiment
    settings: tuple[SettingDifference, ...]
    steps: tuple[StepDifference, ...]
    """Empty if a plan is not known without the images."""
    unplanned: str
    """Why the steps are not compared; empty if they are."""
    accuracies: tuple[AccuracyDifference, ...]
    """Empty unless both are runs."""
    judged_differently: tuple[tuple[str, list[str]], ...]
    """The conditions in which two runs are not judged alike, with both values."""


def compare_experiments(first: Path, second: Path) -> ExperimentDifferences:
    """Return the differences between two specs, run folders, records or reports.

    Raises SpecError for a spec with mistakes, and RecordError for a damaged record or for one
    that contradicts itself.
    """
    one, other = read_experiment(first), read_experiment(second)
    if one.record is None and other.record is None:
        return experiment_differences(one, other)
    with refuse_contradictions("a record", "ddspec verify finds the fault"):
        return experiment_differences(one, other)


def experiment_differences(one: Experiment, other: Experiment) -> ExperimentDifferences:
    """Return the differences between two experiments that were read."""
    steps: tuple[StepDifference, ...] = ()
    unplanned = ""
    try:
        steps = tuple(step_differences(plan_of(one, other), plan_of(other, one)))
    except MachineError as error:
        unplanned = str(error)
    accuracies: tuple[AccuracyDifference, ...] = ()
    conditions: Sequence[tuple[str, list[str]]] = ()
    if one.record is not None and other.record is not None:
        conditions = differing_conditions([one.record, other.record])
        accuracies = accuracy_differences(one.record, other.record, alike=not conditions)
    return ExperimentDifferences(
        one,
        other,
        tuple(setting_differences(one.spec, other.spec)),
        steps,
        unplanned,
        accuracies,
        tuple(conditions),
    )


def read_experiment(path: Path) -> Experiment:
    """Return the experiment of a spec, a run folder, a record.json or a report.html."""
    if path.is_dir():
        from ddspec.reports.pages.run import read_record

        return recorded_experiment(path, read_record(path))
    if path.suffix in (".json", ".html", ".htm"):
        from ddspec.reproduction import read_shared_record

        return recorded_experiment(path, read_shared_record(path))
    hint = "set every swept key to choose one of them, or give the folder of one of its runs"
    return Experiment(str(path), only_spec(load_spec_or_sweep(path), hint))


def recorded_experiment(path: Path, record: Record) -> Experiment:
    """Return the experiment of a record, with the defaults that an older ddspec did not know."""
    return Experiment(str(path), described_spec(record), record)


def setting_differences(first: Spec, second: Spec) -> list[SettingDifference]:
    """Return the keys of the experiment whose resolved values differ."""
    before, after = settings(resolved(first)), settings(resolved(second))
    return [
        SettingDifference(key, before.get(key), after.get(key))
        for key in dict.fromkeys([*before, *after])
        if is_part(key) and before.get(key) != after.get(key)
    ]


def plan_of(experiment: Experiment, other: Experiment) -> Plan:
    """Return the plan of a run, or that of a spec without reading its images.

    Raises MachineError if the images must be read, or if a library of networks is missing, and
    SpecError if the spec does not fit the images.
    """
    if experiment.record is not None:
        return experiment.record.plan
    facts = facts_without_images(experiment.spec, other)
    spec = check_across_keys(experiment.loaded, facts).spec
    measured = networks_of_others(spec, facts)
    return compile_spec(spec, facts, Machine("cpu", 1), measured)


def facts_without_images(spec: Spec, other: Experiment) -> DatasetFacts:
    """Return the facts of the images of a spec, from the other run or as they are known.

    Raises MachineError if the images must be read.
    """
    dataset = spec.dataset
    if other.record is not None and other.spec.dataset == dataset:
        return with_held_out(other.record.plan.dataset.facts)
    facts = known_facts(dataset)
    if facts is None:
        named = dataset.root or dataset.name
        raise MachineError(f"the images of {named} are not known before they are read")
    unread = digest({"name": dataset.name, "root": dataset.root})
    return facts.model_copy(update={"fingerprint": unread})


def step_differences(first: Plan, second: Plan) -> list[StepDifference]:
    """Return every step of two plans: those of the first in their order, then other ones."""
    known: dict[str, Preimage] = {s.digest: s.preimage for s in (*first.steps, *second.steps)}
    known |= first.recipe_preimages | second.recipe_preimages
    before = {step.id: step for step in first.steps}
    after = {step.id: step for step in second.steps}
    rows = []
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            rows.append(missing_step(name, one, other))
            continue
        keys = [change.key for change in differences(other.preimage, one.preimage, known.get)]
        keys += [k for k in other.extent if one.extent.get(k) != other.extent[k]]
        rows.append(StepDifference(name, one.digest, other.digest, state_of(one, other), (*keys,)))
    return rows


def missing_step(name: str, first: Step | None, second: Step | None) -> StepDifference:
    """Return the row of a step that only one of two plans has."""
    if first is not None:
        return StepDifference(name, first.digest, None, "only in A")
    return StepDifference(name, None, second.digest if second else None, "only in B")


def state_of(first: Step, second: Step) -> StepState:
    """Return whether two steps of one name have the same artifacts."""
    if first.digest != second.digest:
        return "differs"
    artifacts = [getattr(step, "members", ()) for step in (first, second)]
    same = artifacts[0] == artifacts[1] and first.extent == second.extent
    return "shared" if same else "shared in part"


def accuracy_differences(
    first: Record, second: Record, alike: bool
) -> tuple[AccuracyDifference, ...]:
    """Return the results of two runs by network; they are tested if the runs are judged alike."""
    before, after = first.results.per_network, second.results.per_network
    rows = []
    for network in dict.fromkeys([*before, *after]):
        one, other = before.get(network), after.get(network)
        test = welch(other, one) if alike and one is not None and other is not None else None
        rows.append(AccuracyDifference(network, one, other, test))
    return tuple(rows)
