"""The spec in a record: loaded, and held against the texts that came with it."""

from dataclasses import replace
from typing import get_args

import tomli

from ddspec import api
from ddspec.dsl.diagnostics import RecordError, SpecError
from ddspec.dsl.digest import Difference, flat_differences
from ddspec.dsl.parsing.loader import LoadedSpec, parse_spec
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.file_names import RESOLVED_TOML, SPEC_TOML
from ddspec.dsl.record.record import Record
from ddspec.dsl.terms import LANGUAGE, Baseline


def load_recorded_spec(record: Record) -> LoadedSpec:
    """Load the resolved spec of a record.

    Raises RecordError if the spec as written, with its overrides, does not give the
    resolved spec, or if the record has another language version.
    """
    if record.plan.language != LANGUAGE:
        raise RecordError(
            f"the record uses language version {record.plan.language}, "
            f"but this ddspec runs version {LANGUAGE}",
            hint=f"use a release of ddspec that runs language version {record.plan.language}",
        )
    try:
        loaded = parse_spec(record.resolved, RESOLVED_TOML)
        if not record.plan.preview and not record.swept:
            options = [option.removeprefix("--set ") for option in record.overrides]
            written = api.resolved_toml(parse_spec(record.spec, SPEC_TOML, options))
            # An older ddspec wrote no keys that it did not know; their defaults are added.
            recorded = api.resolved_toml(loaded)
            check_same_spec(recorded, written, "the spec in the record", "its resolved spec")
    except SpecError as error:
        raise RecordError(f"the spec in the record has mistakes:\n{error}") from None
    return with_planned_baselines(loaded, record.plan)


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
