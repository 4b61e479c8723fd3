"""What the command line says when something is wrong: a message, a way out, an exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from ddspec.dsl.diagnostics import DdspecError, SpecError

RUN_FAILED, WRONG_USAGE, SPEC_AT_FAULT, NOT_REPRODUCED, UNFIT = 1, 2, 3, 4, 5


@contextmanager
def clear_errors(hint: str = "") -> Iterator[None]:
    """Turn faults of spec, data, disk and environment into a message and an exit code."""
    try:
        yield
    except SpecError as error:
        complain(str(error))
        raise typer.Exit(SPEC_AT_FAULT) from None
    except DdspecError as error:
        fail(str(error), error.hint, UNFIT)
    except OSError as error:
        problem = error.strerror or str(error)
        place = f": {error.filename}" if error.filename else ""
        fail(f"{problem}{place}", hint, UNFIT)


def complain(message: str) -> None:
    """Say something on stderr."""
    print(message, file=sys.stderr)


def fail(message: str, hint: str, code: int) -> NoReturn:
    """Say what is wrong and how to go on, and leave."""
    complain(f"error: {message}")
    if hint:
        complain(f"  = hint: {hint}")
    raise typer.Exit(code)
