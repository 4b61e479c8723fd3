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

LATE_FUNCTIONS = {"reproduce": "ddspec.reproduction", "verify": "ddspec.verification"}
"""Functions that import the reports; each is imported when it is first used."""


def __getattr__(name: str) -> Any:
    """Import one of the late functions when it is first used."""
    if name not in LATE_FUNCTIONS:
        raise AttributeError(f"module 'ddspec' has no attribute {name!r}")
    return getattr(import_module(LATE_FUNCTIONS[name]), name)


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
