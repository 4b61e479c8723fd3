"""Exit codes of the command line, and how it prints errors.

0         done
1         the run failed or diverged
2         wrong usage
3         the spec has mistakes
4         not reproduced, or not verified
5         data missing, store or environment unfit, or nothing could be compared
130, 143  interrupted by SIGINT or SIGTERM; everything finished so far is kept
141       the reader of the output has gone, such as `head`
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from ddspec.cli.printing import print_stderr, print_stderr_text
from ddspec.dsl.diagnostics import DdspecError, SpecError

RUN_FAILED, WRONG_USAGE, INVALID_SPEC, NOT_REPRODUCED, UNFIT = 1, 2, 3, 4, 5


@contextmanager
def exit_on_error(hint: str = "") -> Iterator[None]:
    """Turn errors of spec, data, disk and environment into a message and an exit code.

    `hint` is printed below errors of the operating system, which carry none themselves.
    """
    try:
        yield
    except SpecError as error:
        print_stderr_text(str(error))
        raise typer.Exit(INVALID_SPEC) from None
    except DdspecError as error:
        fail(str(error), error.hint, UNFIT)
    except OSError as error:
        problem = error.strerror or str(error)
        file = f": {error.filename}" if error.filename else ""
        if error.errno == errno.ENAMETOOLONG:
            hint = "file systems take names of at most 255 bytes; give a shorter one"
        fail(f"{problem}{file}", hint, UNFIT)


def fail(message: str, hint: str, code: int) -> NoReturn:
    """Print an error with a hint on how to fix it, and exit."""
    print_stderr(f"error: {message}")
    if hint:
        print_stderr(f"  = hint: {hint}")
    raise typer.Exit(code)
