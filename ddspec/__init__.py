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

if TYPE_CHECKING:
    __version__: str
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
    from ddspec.reproduction import reproduce
    from ddspec.synthetic_dataset import load_set
    from ddspec.verification import verify

MODULES = {
    "ddspec.api": ("CompiledSpec", "Run", "compile", "load", "open_run", "run"),
    "ddspec.dsl.diagnostics": (
        "DataError",
        "DdspecError",
        "Diagnostic",
        "MachineError",
        "RecordError",
        "SpecError",
        "StoreError",
    ),
    "ddspec.dsl.parsing.loader": ("LoadedSpec",),
    "ddspec.dsl.plan.steps": ("Plan",),
    "ddspec.dsl.record.record": ("Record",),
    "ddspec.dsl.spec.experiment": ("Spec",),
    "ddspec.reproduction": ("reproduce",),
    "ddspec.synthetic_dataset": ("load_set",),
    "ddspec.verification": ("verify",),
}
"""Where each name comes from; a module is imported when one of its names is first used."""


def __getattr__(name: str) -> Any:
    """Import the module of a name when it is first used."""
    if name == "__version__":
        return import_module("ddspec.engine.machine.environment").ddspec_version()
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'ddspec' has no attribute {name!r}")


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
    "__version__",
    "compile",
    "load",
    "load_set",
    "open_run",
    "reproduce",
    "run",
    "verify",
]
