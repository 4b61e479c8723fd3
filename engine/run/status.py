"""The status of a plan: what the store already holds, what is left to do, and why."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from pydantic import ValidationError

from ddspec.dsl.digest import Difference, Preimage, differences
from ddspec.dsl.document import Document
from ddspec.dsl.plan.steps import (
    Plan,
    ScoresStep,
    Step,
    TrajectoryStep,
)
from ddspec.dsl.record.record import Outcome
from ddspec.dsl.spec.catalogue import catalogue, tag_of
from ddspec.engine.store.artifacts import (
    Artifact,
    artifacts_of,
)
from ddspec.engine.store.store import Store


@dataclass(frozen=True)
class Reason:
    """Why a step is not complete: the key of the spec that asks for more, and how."""

    key: str
    text: str


@dataclass(frozen=True)
class StepState:
    """A step with its artifacts and the reasons for what is left to do."""

    step: Step
    artifacts: tuple[Artifact, ...]
    reasons: tuple[Reason, ...]
    diverged: Outcome | None = None
    """How it diverged before, if it would again: then nothing is left to do."""

    @property
    def missing(self) -> tuple[Artifact, ...]:
        """Return the artifacts that are not complete."""
        return tuple(artifact for artifact in self.artifacts if not artifact.complete)


def step_states(plan: Plan, store: Store) -> list[StepState]:
    """Return the state of every step of a plan."""
    find = preimage_finder(plan, store)
    standings = []
    for step in plan.steps:
        artifacts = tuple(artifacts_of(step, store))
        missing = [artifact for artifact in artifacts if not artifact.complete]
        diverged = known_divergence(step, missing, store) if missing else None
        reasons = tuple(reasons_for(step, diverged, store, find)) if missing else ()
        standings.append(StepState(step, artifacts, reasons, diverged))
    return standings


def preimage_finder(plan: Plan, store: Store) -> Callable[[str], Preimage | None]:
    """Return a function that finds preimages of this plan and of all earlier runs."""
    known: dict[str, Preimage] = {step.digest: step.preimage for step in plan.steps}
    known |= plan.recipe_preimages
    return lambda name: known.get(name) or store.recall(name)


def reasons_for(
    step: Step,
    diverged: Outcome | None,
    store: Store,
    find: Callable[[str], Preimage | None],
) -> Iterator[Reason]:
    """Yield the reasons why a step is not complete; `diverged` is how it ended before, if so."""
    if diverged is not None:
        yield Reason("", f"diverged before: {diverged.cause}; ddspec run --retry tries it again")
        return
    if store.recall(step.digest) is not None:
        yield from growth_reasons(step, store)
        return
    best: list[Difference] | None = None
    for before in store.remembered(step.kind):
        if before.get("subject") != step.preimage.get("subject"):
            continue
        changed = differences(step.preimage, before, find)
        if best is None or len(changed) < len(best):
            best = changed
    if best is None:
        yield Reason("", "has not run with this store")
        return
    reasons = list(change_reasons(best))
    if len(reasons) > MOST_REASONS:
        reasons = [Reason("", "nothing like it has run with this store")]
    yield from reasons


MOST_REASONS = 8
"""Most keys in which a step may differ from an earlier one that it is compared with."""


def change_reasons(changed: Sequence[Difference]) -> Iterator[Reason]:
    """Yield the keys in which a step differs from an earlier one, with both values."""
    keys = {difference.key for difference in changed}
    for difference in changed:
        key = difference.key
        old, new = (setting_text(key, v, keys) for v in (difference.old, difference.new))
        if old != new:
            yield Reason(key, f"{key} {old} -> {new}")


def growth_reasons(step: Step, store: Store) -> Iterator[Reason]:
    """Yield the reasons of a step that ran before: more is wanted, or it was stopped."""
    noted = store.noted(extent_note(step))
    if not isinstance(noted, dict):
        yield Reason("", "was stopped before it was complete")
        return
    changed = {
        key: (noted[key], value)
        for key, value in step.extent.items()
        if isinstance(noted.get(key), int | float) and noted[key] != value
    }
    for key, (old, new) in changed.items():
        yield Reason(key, f"{key} {setting_text(key, old)} -> {setting_text(key, new)}")
    if not changed:
        yield Reason("", "is not in the store any more")


class DivergenceNote(Document):
    """The store's note of a divergence, which happens again in every plan that reaches it."""

    outcome: Outcome
    at: int | None
    """Iteration of the outer loop, or epoch of the expert; None before the first."""
    expert: int | None


def known_divergence(step: Step, missing: Sequence[Artifact], store: Store) -> Outcome | None:
    """Return the remembered divergence, if everything before it is already done."""
    try:
        noted = DivergenceNote.model_validate(store.noted(divergence_note(step)))
    except ValidationError:
        return None
    if noted.at is None:
        met = True
    elif noted.expert is None:
        met = all(artifact.number > noted.at for artifact in missing)
    else:
        of_expert = [artifact for artifact in missing if artifact.number == noted.expert]
        whole = isinstance(step, ScoresStep | TrajectoryStep)
        met = any(whole or artifact.want > noted.at for artifact in of_expert)
    return noted.outcome if met else None


def divergence_note(step: Step) -> str:
    """Return the name of the note that records how a step diverged."""
    return f"diverged-{step.digest}"


def extent_note(step: Step) -> str:
    """Return the name of the note that records how much of a step was wanted last."""
    return f"extent-{step.digest}"


def may_be_absent(key: str, changed: Collection[str]) -> bool:
    """Return whether a key has no value where a preimage does not name it.

    Its table is optional, or it has the key only in some choices and another one is made.
    """
    declared = catalogue()[key]
    above = catalogue().get(declared.table)
    tables = accumulate(declared.table.split("."), "{}.{}".format)
    if declared.only_with and any(f"{table}.{tag_of(table)}" in changed for table in tables):
        return True
    return above is not None and above.is_table and above.default is None and not above.required


def default_of(key: str) -> Any:
    """Return the default of a key, which may be part of the default of its table."""
    declared = catalogue()[key]
    above = catalogue().get(declared.table)
    if declared.default is None and above is not None:
        return getattr(above.default, declared.name, None)
    return declared.default


def setting_text(key: str, value: Any, changed: Collection[str] = ()) -> str:
    """Return a value of a preimage as text; a missing one had its default.

    `changed` are all keys in which two preimages differ.
    """
    if value is None:
        if key not in catalogue() or may_be_absent(key, changed):
            return "not set"
        value = default_of(key)
        if value is None:
            return "absent"
    match value:
        case str():
            return f'"{value}"' if key in catalogue() else value
        case dict():
            return "{}"
        case bool():
            return str(value).lower()
        case float() if value.is_integer() and abs(value) < 1e6:
            return str(int(value))
        case list() | tuple():
            return "[" + ", ".join(map(str, value)) + "]"
        case _:
            return str(value)
