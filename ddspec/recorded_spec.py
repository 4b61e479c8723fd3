"""The spec in a record: loaded, and held against the texts that came with it."""

from dataclasses import replace
from typing import get_args

import tomli

from ddspec import api
from ddspec.dsl.diagnostics import RecordError, SpecError
from ddspec.dsl.digest import Difference, flat_differences
from ddspec.dsl.parsing.loader import (
    LoadedSpec,
    LoadedSweep,
    apply_override,
    parse_resolved,
    parse_spec,
    parse_spec_or_sweep,
)
from ddspec.dsl.parsing.locate import Override
from ddspec.dsl.parsing.source import read_source
from ddspec.dsl.parsing.sweep import SWEEP, Combination, combinations, read_axes, unset_axes
from ddspec.dsl.plan.preview import changed_settings
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.file_names import RESOLVED_TOML, SPEC_TOML
from ddspec.dsl.record.record import Record
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.terms import LANGUAGE, Baseline


def load_recorded_spec(record: Record) -> LoadedSpec:
    """Load the spec of a record: as written with its options, or else as resolved.

    The spec as written says which settings the options changed. Only if an older ddspec resolved
    it otherwise, and for previews, is it the resolved one that has the settings of the numbers.
    Raises RecordError if the spec as written, with its overrides, does not give the
    resolved spec, or if the record has another language version; SpecError if an extension is
    not installed as the record has it.
    """
    if record.plan.language != LANGUAGE:
        raise RecordError(
            f"the record uses language version {record.plan.language}, "
            f"but this ddspec runs version {LANGUAGE}",
            hint=f"use a release of ddspec that runs language version {record.plan.language}",
        )
    try:
        loaded = parse_spec(record.resolved, RESOLVED_TOML)
        written = written_spec(record)
    except SpecError as error:
        if error.lacks_extension:
            raise
        raise RecordError(f"the spec in the record has mistakes:\n{error}") from None
    if record.plan.preview or loaded.spec.preview:
        check_preview(record.plan.preview, written.spec, loaded.spec)
    else:
        # An older ddspec wrote no keys that it did not know; their defaults are added.
        texts = (api.resolved_toml(loaded), api.resolved_toml(written))
        check_same_spec(*texts, "the spec in the record", "its resolved spec")
        if written.spec == loaded.spec:
            loaded = written
    return with_planned_baselines(loaded, record.plan)


def described_spec(record: Record) -> LoadedSpec:
    """Load the spec of a record for words about it; its extensions need not be installed.

    Raises what `load_recorded_spec` raises otherwise.
    """
    try:
        return load_recorded_spec(record)
    except SpecError as error:
        if not error.lacks_extension:
            raise
        return with_planned_baselines(parse_resolved(record.resolved, RESOLVED_TOML), record.plan)


def written_spec(record: Record) -> LoadedSpec:
    """Return the spec as written, with the overrides and what a sweep changes in it.

    Raises SpecError if it has mistakes, and RecordError if the sweep has no such run.
    """
    options = [option.removeprefix("--set ") for option in options_of_user(record)]
    if not record.swept:
        return parse_spec(record.spec, SPEC_TOML, options)
    sweep = parse_spec_or_sweep(record.spec, SPEC_TOML, options)
    for member in sweep.members if isinstance(sweep, LoadedSweep) else ():
        if tuple(override.option for override in member.loaded.overrides) == record.overrides:
            return member.loaded
    raise RecordError(
        f"the spec in the record is not a sweep that has the run {' '.join(record.overrides)}",
        hint="the numbers belong to another experiment",
    )


def options_of_user(record: Record) -> tuple[str, ...]:
    """Return the overrides of the command line, without what a sweep changes.

    The latter come last. Raises SpecError if the sweep or an option has mistakes.
    """
    if not record.swept:
        return record.overrides
    source = read_source(record.spec, SPEC_TOML)
    if SWEEP not in source.values:
        return record.overrides
    values = {key: value for key, value in source.values.items() if key != SWEEP}
    for option in record.overrides:
        values, _ = apply_override(values, option.removeprefix("--set "))
    axes = read_axes(source, values)
    most = sum(max(len(entry.changes) for entry in axis.entries) for axis in axes)
    for count in range(min(most, len(record.overrides)), 0, -1):
        options, changes = record.overrides[:-count], record.overrides[-count:]
        left = unset_axes(axes, [override_of(option) for option in options])
        if any(changes == options_of(combination) for combination in combinations(left)):
            return options
    return record.overrides


def override_of(option: str) -> Override:
    """Return the override of a recorded option. Raises SpecError if it is not one."""
    return apply_override({}, option.removeprefix("--set "))[1]


def options_of(combination: Combination) -> tuple[str, ...]:
    """Return the changes of a run of a sweep as options of the command line."""
    return tuple(change.override.option for change in combination.changes)


def check_preview(named: tuple[str, ...], written: Spec, small: Spec) -> None:
    """Raise RecordError if a preview does not name every setting that it shrank, or names others.

    It may name in front what the images lack of the dataset.
    """
    changes = tuple(changed_settings(written, small)) or ("nothing had to be shrunk",)
    lacking = named[: len(named) - len(changes)]
    if named != small.preview or named[len(lacking) :] != changes or len(lacking) > 1:
        raise RecordError(
            "the preview in the record does not name the settings in which it differs from its "
            f"spec: {'; '.join(changes)}",
            hint="the numbers belong to another experiment",
        )


def with_planned_baselines(loaded: LoadedSpec, plan: Plan) -> LoadedSpec:
    """Return a recorded spec that asks for the baselines of its plan.

    ddspec 0.1.0 planned the same baselines for every spec, with or without distillation.
    """
    evaluation = loaded.spec.evaluation
    planned = tuple(name for name in get_args(Baseline) if plan.evaluations(name))
    if evaluation.baselines is not None or planned == loaded.spec.baselines:
        return loaded
    evaluation = evaluation.model_copy(update={"baselines": planned})
    return replace(loaded, spec=loaded.spec.model_copy(update={"evaluation": evaluation}))


def check_same_spec(recorded: str, other: str, name: str, recorded_name: str) -> None:
    """Raise RecordError with every key in which two resolved specs, as TOML, differ.

    `name` and `recorded_name` describe the two in the message.
    """
    if recorded == other:
        return
    try:
        changed = list(
            flat_differences({"settings": tomli.loads(other)}, {"settings": tomli.loads(recorded)})
        )
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise RecordError(f"{name} is not valid TOML: {error}") from None
    if changed:
        raise RecordError(
            f"{name} differs from {recorded_name}: {describe_differences(changed)}",
            hint="the numbers belong to another experiment; run the spec itself to see its results",
        )


def describe_differences(changed: list[Difference]) -> str:
    """Return every changed key with both values, in one line."""
    return ", ".join(
        f"{d.key} {value_or_default(d.old)} -> {value_or_default(d.new)}" for d in changed
    )


def value_or_default(value: object) -> str:
    """Return a value as text; a missing one is "(default)"."""
    return "(default)" if value is None else str(value)
