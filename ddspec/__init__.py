"""ddspec: a declarative experiment language for dataset distillation.

import ddspec

finished = ddspec.run("digits_ipc1.toml", {"matching.iterations": 50})
print(finished.record.results.accuracy)
images, labels = finished.synthetic().images, finished.synthetic().labels

`load` and `compile` are the first two steps of `run`, for those who want to see the plan.
Every function raises a DdspecError for a fault of a spec, its data or the machine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from ddspec.api import CompiledSpec, Run, compile, open_run, run
    from ddspec.dsl.diagnostics import (
        DataError,
        DdspecError,
        Diagnostic,
        MachineError,
        RecordError,
        SpecError,
        StoreError,
    )
    from ddspec.dsl.parsing.loader import LoadedSpec, LoadedSweep
    from ddspec.dsl.plan.steps import Plan
    from ddspec.dsl.record.record import Record
    from ddspec.dsl.spec.experiment import Spec
    from ddspec.engine.control import Interrupted, Progress
    from ddspec.functions.exchange import export, import_experts, import_set
    from ddspec.functions.loading import load, load_sweep
    from ddspec.functions.pages import compare, index, report
    from ddspec.functions.progress import TextProgress
    from ddspec.reproduction import ReproductionResult, reproduce
    from ddspec.sweeps import CompiledSweep, SweepRun, compile_sweep, run_sweep
    from ddspec.synthetic_dataset import load_set
    from ddspec.verification import Finding, verify

MODULES = {
    "ddspec.api": ("CompiledSpec", "Run", "compile", "open_run", "run"),
    "ddspec.dsl.diagnostics": (
        "DataError",
        "DdspecError",
        "Diagnostic",
        "MachineError",
        "RecordError",
        "SpecError",
        "StoreError",
    ),
    "ddspec.dsl.parsing.loader": ("LoadedSpec", "LoadedSweep"),
    "ddspec.dsl.plan.steps": ("Plan",),
    "ddspec.dsl.record.record": ("Record",),
    "ddspec.dsl.spec.experiment": ("Spec",),
    "ddspec.engine.control": ("Interrupted", "Progress"),
    "ddspec.functions.exchange": ("export", "import_experts", "import_set"),
    "ddspec.functions.loading": ("load", "load_sweep"),
    "ddspec.functions.pages": ("compare", "index", "report"),
    "ddspec.functions.progress": ("TextProgress",),
    "ddspec.reproduction": ("ReproductionResult", "reproduce"),
    "ddspec.sweeps": ("CompiledSweep", "SweepRun", "compile_sweep", "run_sweep"),
    "ddspec.synthetic_dataset": ("load_set",),
    "ddspec.verification": ("Finding", "verify"),
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


def __dir__() -> list[str]:
    """Return the public names alone."""
    return [*__all__, "__doc__", "__name__", "__path__"]


__all__ = [
    "CompiledSpec",
    "CompiledSweep",
    "DataError",
    "DdspecError",
    "Diagnostic",
    "Finding",
    "Interrupted",
    "LoadedSpec",
    "LoadedSweep",
    "MachineError",
    "Plan",
    "Progress",
    "Record",
    "RecordError",
    "ReproductionResult",
    "Run",
    "Spec",
    "SpecError",
    "StoreError",
    "SweepRun",
    "TextProgress",
    "__version__",
    "compare",
    "compile",
    "compile_sweep",
    "export",
    "import_experts",
    "import_set",
    "index",
    "load",
    "load_set",
    "load_sweep",
    "open_run",
    "report",
    "reproduce",
    "run",
    "run_sweep",
    "verify",
]
