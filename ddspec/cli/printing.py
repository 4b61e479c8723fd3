"""All that the command line prints: results to stdout, messages to stderr.

Texts of others reach the terminal through here alone, so none of them can forge a line or
command the terminal. Messages that cannot be printed, because a log is full or the reader of a
pipe has gone, are left out: they must never end a run. Results that cannot be printed raise
OutputError, which `entry.py` turns into words and an exit code.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from ddspec.cli.entry import OutputError
from ddspec.cli.texts.colour import coloured
from ddspec.dsl.terminal_text import escape_text, message_of, terminal_line, terminal_lines


def print_line(text: str) -> None:
    """Print a result as one line, whatever names are in it."""
    write_result(terminal_line(text))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of a result, each of which stays one."""
    for line in lines:
        print_line(line)


def print_text(text: str) -> None:
    """Print a text of several lines that ddspec has composed."""
    write_result(terminal_lines(text))


def print_diagnostics(text: str) -> None:
    """Print diagnostics as a result, in colours on a terminal."""
    write_result(coloured(terminal_lines(text), sys.stdout))


def print_path(path: Path) -> None:
    """Print a path on its own line, whole, for scripts to read."""
    write_result(escape_text(str(path)))


def print_json(value: Any, indent: int | None = None) -> None:
    """Print a value as JSON in ASCII; without `indent`, as one line in one write.

    Lines of tasks that end together therefore do not mix.
    """
    separators = (",", ":") if indent is None else None
    write_result(json.dumps(value, indent=indent, separators=separators))


def terminal_width() -> int | None:
    """Return the columns of the terminal that results go to; None if they go elsewhere."""
    try:
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    except (ValueError, AttributeError):  # The stream is closed.
        return None


def draws_over(stream: TextIO) -> bool:
    """Return whether lines on a stream can be drawn again in their place."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (ValueError, AttributeError):  # The stream is closed.
        return False


def print_over(lines: Sequence[str], drawn: int) -> int:
    """Print lines over those that were drawn before; return how many there are now.

    `drawn` is what the last call returned, 0 at first. Lines that the terminal has no room for
    are left out, because it could not go back to them.
    """
    size = shutil.get_terminal_size()
    kept = [terminal_line(line)[: size.columns - 1] for line in lines[: max(1, size.lines - 1)]]
    back = f"\x1b[{drawn}F\x1b[J" if drawn else ""
    write_result(back + "\n".join(kept))
    return len(kept)


def write_result(text: str) -> None:
    """Write an escaped text and a line feed to stdout, in one write. Raises OutputError."""
    try:
        sys.stdout.write(f"{text}\n")
    except OSError as error:
        raise OutputError(error) from error


def print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of a library as one line, in place of `warnings.showwarning`."""
    text = message_of(message) if isinstance(message, Warning) else message
    print_stderr(f"warning of {Path(filename).name}:{lineno}: {text}")


def print_stderr(message: str) -> None:
    """Print a message to stderr as one line, if it can be printed; errors in colours."""
    write_line(sys.stderr, coloured(terminal_line(message), sys.stderr))


def print_stderr_text(text: str) -> None:
    """Print a text of several lines that ddspec has composed to stderr, if it can be printed."""
    write_line(sys.stderr, coloured(terminal_lines(text), sys.stderr))


def write_line(stream: TextIO, line: str) -> None:
    """Write an escaped line to a stream and flush it, if that can be done."""
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except (OSError, ValueError, AttributeError):
        pass
