"""The functions of installed extensions that a plan names."""

import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ddspec.dsl.diagnostics import DdspecError, MachineError
from ddspec.dsl.extensions.declaration import ARGUMENTS, PartKind
from ddspec.dsl.extensions.installed import check_identity, installed_extension
from ddspec.dsl.keys.extension import ExtensionPart


def call_part(kind: PartKind, part: ExtensionPart, **arguments: Any) -> Any:
    """Call the function of a part with these arguments and the values of its keys.

    Raises MachineError if the extension is not installed, if its version or its files are not
    those that the plan names, if the function fails, with the place in its code, or if it changes
    an argument.
    """
    function = function_of(kind, part.part, part.version, part.code)
    tensors = {name: value for name, value in arguments.items() if isinstance(value, Tensor)}
    versions = {name: tensor._version for name, tensor in tensors.items()}
    with faults_of(part, function):
        value = function(**arguments, **part.keys)
    for name, tensor in tensors.items():
        if tensor._version != versions[name]:
            raise MachineError(
                f"{part.part} changed its argument `{name}`",
                hint="use operations that return a new tensor, without a final underscore",
            )
    return value


def check_function(kind: PartKind, part: ExtensionPart) -> None:
    """Raise MachineError unless the function of a part can be called as `call_part` does."""
    function = function_of(kind, part.part, part.version, part.code)
    arguments = [*ARGUMENTS[kind], *part.keys]
    try:
        inspect.signature(function).bind(**dict.fromkeys(arguments))
    except ValueError:
        return  # A function of C++, whose arguments are not known.
    except TypeError as error:
        place = f"{function.__module__}.{getattr(function, '__name__', '')}"
        raise MachineError(
            f"{part.part} cannot be called: {error}",
            hint=f"{place} gets the keyword arguments {', '.join(arguments)}",
        ) from error


@contextmanager
def faults_of(part: ExtensionPart, function: Callable[..., Any]) -> Iterator[None]:
    """Turn whatever the code of an extension raises into a MachineError that says where."""
    try:
        yield
    except (torch.OutOfMemoryError, DdspecError):
        raise
    except (Exception, SystemExit) as error:
        package = function.__module__.partition(".")[0]
        frames = [
            frame
            for frame, _ in traceback.walk_tb(error.__traceback__)
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package
        ]
        place = f"{function.__module__}.{function.__name__}"
        if frames:
            place = f"{frames[-1].f_code.co_name}, line {frames[-1].f_lineno} of "
            place += frames[-1].f_code.co_filename
        raise MachineError(
            f"{part.part} failed with {type(error).__name__}: {error}", hint=f"in {place}"
        ) from error


def number_and_gradient(
    kind: PartKind, part: ExtensionPart, by: Tensor, **arguments: Any
) -> tuple[Tensor, Tensor]:
    """Return the number that a part returns, and its gradient by one of the tensors behind it.

    Raises MachineError if it is not one number, does not depend on that tensor, or is drawn at
    random by torch.
    """
    before = state_of_generators(by.device)
    number = call_part(kind, part, **arguments)
    if state_of_generators(by.device) != before:
        raise MachineError(
            f"{part.part} draws random numbers, so no run of it could be repeated",
            hint="return the same for the same arguments, without random numbers or dropout",
        )
    if not isinstance(number, Tensor) or number.shape != ():
        found = f"shape {tuple(number.shape)}" if isinstance(number, Tensor) else type(number)
        raise MachineError(
            f"{part.part} must return one number as a tensor, but it is of {found}",
            hint="return a tensor without dimensions",
        )
    gradient = None
    if number.requires_grad:
        function = function_of(kind, part.part, part.version, part.code)
        with faults_of(part, function):
            (gradient,) = torch.autograd.grad(number, by, allow_unused=True)
    if gradient is None:
        raise MachineError(
            f"what {part.part} returns does not depend on its argument that is learned",
            hint="a loss depends on `student`, an objective on `synthetic`, without detaching it",
        )
    return number.detach(), gradient


def state_of_generators(device: torch.device) -> tuple[bytes, int]:
    """Return what drawing a random number on the CPU or on a device changes."""
    offset = 0
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        offset = torch.cuda.default_generators[index].get_offset()
    return torch.default_generator.get_state().numpy().tobytes(), offset


@cache
def function_of(
    kind: PartKind, name: str, version: str | None, code: str | None
) -> Callable[..., Any]:
    """Return the function of a part of that version and code."""
    extension = installed_extension(name.partition("/")[0])
    declared = extension.part(kind, name)
    check_identity(name, version, code, extension)
    module, _, attribute = declared.code.partition(":")
    try:
        function = getattr(import_module(module), attribute)
        if not callable(function):
            raise TypeError(f"{attribute} is not callable")
    except (Exception, SystemExit) as error:  # Whatever the package raises when it is imported.
        raise MachineError(
            f"the code of {name} cannot be imported: {type(error).__name__}: {error}",
            hint=f"{extension.package} names it {declared.code}",
        ) from error
    if extension.changed():
        # What was imported may be the new files, while plan and record name the old ones.
        raise MachineError(
            f"files of {extension.package} changed since this command began",
            hint="run the same command again",
        )
    return function
