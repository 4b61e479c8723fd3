"""Plans that a store keeps for the workers who perform their tasks."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ddspec.dsl.atomic_write import write_text
from ddspec.dsl.digest import digest
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.regular_file import read_regular_file
from ddspec.engine.store.store import Store

FOLDER = "plans"


def plan_name(plan: Plan) -> str:
    """Return the name of a plan with all its routes; plans of one digest may differ in routes."""
    return digest(plan.model_dump(mode="json"))


def plan_path(name: str, store: Store) -> Path:
    """Return the path of the plan of that name."""
    return store.root / FOLDER / f"{name}.json"


def keep_plan(plan: Plan, store: Store) -> None:
    """Keep a plan in a store, where whoever performs its tasks finds it."""
    write_text(plan_path(plan_name(plan), store), plan.model_dump_json())


def kept_plan(name: str, store: Store) -> Plan | None:
    """Return the plan of that name; None if the store has none, or has a damaged one."""
    try:
        plan = Plan.model_validate_json(read_regular_file(plan_path(name, store)))
    except (OSError, ValidationError):
        return None
    return plan if plan_name(plan) == name else None


def use_plan(name: str, store: Store) -> Plan | None:
    """Return the plan of that name for a task; its file counts as young again."""
    plan = kept_plan(name, store)
    if plan is not None:
        with contextlib.suppress(OSError):  # Others may own the store.
            os.utime(plan_path(name, store))
    return plan


@dataclass(frozen=True)
class KeptPlan:
    """The file of a plan in a store."""

    path: Path
    plan: Plan | None
    """None if the file is damaged."""
    bytes: int
    age_seconds: float
    """Seconds since it was written, or used by a task."""


def kept_plans(store: Store) -> Iterator[KeptPlan]:
    """Yield every plan that a store keeps, by name."""
    folder, now = store.root / FOLDER, time.time()
    for path in sorted(folder.glob("[!.]*.json")) if folder.is_dir() else ():
        status = path.stat()
        plan = kept_plan(path.stem, store)
        yield KeptPlan(path, plan, status.st_size, now - status.st_mtime)
