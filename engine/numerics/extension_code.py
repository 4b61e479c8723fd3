"""The functions of installed extensions that a plan names."""

import traceback
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.extensions.declaration import PartKind
from ddspec.dsl.extensions.installed import check_identity, installed_extension
from ddspec.dsl.spec.extension import ExtensionPart


def call_part(kind: PartKind, part: ExtensionPart, *values: Any, **named: Any) -> Any:
    """Call the function of a part with these arguments and the values of its keys.

    Raises MachineError if the extension is not installed, if its version or its files are not
    those that the plan names, or with the place in its code if the function fails.
    """
    function = function_of(kind, part.part, part.version, part.code, type(part))
    try:
        return function(*values, **named, **part.keys)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # Whatever a stranger's function raises is a fault of that code.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise MachineError(
            f"{part.part} failed with {type(error).__name__}: {error}",
            hint=f"in {frame.name}, line {frame.lineno} of {frame.filename}",
        ) from error


def number_of_part(kind: PartKind, part: ExtensionPart, *values: Any, **named: Any) -> Tensor:
    """Call a part that returns one number; raise MachineError if it returns anything else."""
    number = call_part(kind, part, *values, **named)
    if not isinstance(number, Tensor) or number.shape != () or not number.requires_grad:
        found = f"shape {tuple(number.shape)}" if isinstance(number, Tensor) else type(number)
        raise MachineError(
            f"{part.part} must return one number as a differentiable tensor, but it is {found}",
            hint="return a tensor without dimensions that depends on the arguments",
        )
    return number


@cache
def function_of(
    kind: PartKind, name: str, version: str | None, code: str | None, form: type[ExtensionPart]
) -> Callable[..., Any]:
    """Return the function of a part of that version and code."""
    extension = installed_extension(name.partition("/")[0])
    declared = extension.part(kind, name)
    tag = "objective" if kind == "objectives" else "name"
    check_identity(form.model_validate({tag: name, "version": version, "code": code}), extension)
    module, _, attribute = declared.code.partition(":")
    try:
        function: Callable[..., Any] = getattr(import_module(module), attribute)
    except Exception as error:  # Whatever the package raises when it is imported.
        raise MachineError(
            f"the code of {name} cannot be imported: {type(error).__name__}: {error}",
            hint=f"{extension.package} names it {declared.code}",
        ) from error
    return function
