"""ddspec: a declarative experiment language for dataset distillation.

import ddspec

loaded = ddspec.load("specs/digits_ipc1.toml")
compiled = ddspec.compile(loaded)
finished = ddspec.run(compiled)
print(finished.record.results.accuracy)
"""

from ddspec.api import CompiledSpec, Run, compile, load, run
from ddspec.dsl.diagnostics import (
    DataError,
    DdspecError,
    Diagnostic,
    MachineError,
    RecordError,
    SpecError,
    StoreError,
)
from ddspec.dsl.loader import LoadedSpec
from ddspec.dsl.plan import Plan
from ddspec.dsl.record import Record
from ddspec.dsl.spec import Spec

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
    "run",
]
