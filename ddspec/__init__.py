"""ddspec: a declarative experiment language for dataset distillation.

import ddspec

loaded = ddspec.load("specs/digits_ipc1.toml")
compiled = ddspec.compile(loaded)
finished = ddspec.run(compiled)
print(finished.record.results.accuracy)
images, labels = finished.synthetic().images, finished.synthetic().labels
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ddspec.api import CompiledSpec, Run, compile, load, open_run, run
from ddspec.dsl.diagnostics import (
    DataError,
    DdspecError,
    Diagnostic,
    MachineError,
    RecordError,
    SpecError,
    StoreError,
)
from ddspec.dsl.parsing.loader import LoadedSpec
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import Record
from ddspec.dsl.spec.experiment import Spec

if TYPE_CHECKING:
    from ddspec.reproduction import reproduce
    from ddspec.verification import verify

LATE = {"reproduce": "ddspec.reproduction", "verify": "ddspec.verification"}
"""What brings the reports with it, and is imported when it is asked for."""


def __getattr__(name: str) -> Any:
    """Import what is asked for the first time."""
    if name not in LATE:
        raise AttributeError(f"module 'ddspec' has no attribute {name!r}")
    return getattr(import_module(LATE[name]), name)


__all__ = [
    "CompiledSpec",
    "DataError",
    "DdspecError",
    "Diagnostic",
    "LoadedSpec",
    "MachineError",
    "Plan",
    "Record",
    "RecordError",
    "Run",
    "Spec",
    "SpecError",
    "StoreError",
    "compile",
    "load",
    "open_run",
    "reproduce",
    "run",
    "verify",
]
